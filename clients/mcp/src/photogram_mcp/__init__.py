"""Photogram's tools for assistants that speak the Model Context Protocol (MCP)."""

from photogram_mcp.server import build_server

__all__ = ["build_server"]

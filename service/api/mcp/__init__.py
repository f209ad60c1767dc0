"""``/mcp``: Photogram's tools for assistants, by the Model Context Protocol over streamable HTTP."""

from service.api.mcp.endpoint import McpEndpoint, mcp_route

__all__ = ["McpEndpoint", "mcp_route"]

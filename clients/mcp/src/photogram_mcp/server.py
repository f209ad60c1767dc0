"""The MCP server: all tools and resources over one client of Photogram for each request."""

from __future__ import annotations

from importlib.metadata import version

from mcp.server.mcpserver import MCPServer

from photogram_mcp import agents, drawing, jobs, listing, resources, seeing
from photogram_mcp.sources import Sources
from photogram_mcp.studio import OpenClient, Studio

INSTRUCTIONS = """\
Photogram draws images with diffusion models. Every tool that draws answers within about 15 seconds: with the image, or
with the id of a job that goes on. Then call wait_for_job with that id, as often as needed; it never fails because a job
takes long. Images are named by their source, `image:<id>`, which other tools take to edit, enlarge or describe them.
run_agent makes several images from a brief and checks them; if it asks something, ask the user and call answer_agent.
Before an expensive job, dry_run says what it would cost."""


def build_server(open_client: OpenClient, sources: Sources | None = None) -> MCPServer:
    """A server whose tools call Photogram.

    Args:
        open_client: gives the client of a request, with the API key of whoever sent it.
        sources: how images that tools are given are found; by default on the server and the web only.
    """
    server: MCPServer = MCPServer(
        "photogram", title="Photogram", instructions=INSTRUCTIONS, version=version("photogram-mcp"), log_level="WARNING"
    )
    studio = Studio(open_client, sources or Sources())
    for module in (drawing, jobs, agents, seeing, listing, resources):
        module.register(server, studio)
    return server

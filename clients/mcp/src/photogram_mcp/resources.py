"""Resources: jobs and images by their URIs."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ResourceError, ToolError

from photogram_mcp.studio import Studio


def register(server: MCPServer, studio: Studio) -> None:
    """Add the resources to ``server``."""

    @server.resource("photogram://jobs/{job_id}", title="A job", mime_type="application/json")
    async def job(job_id: str, context: Context[Any, Any]) -> str:
        """The whole state of a job, as JSON."""
        try:
            async with studio.client(context) as client:
                return json.dumps(asdict(await client.jobs.get(job_id)), default=str)
        except ToolError as error:
            raise ResourceError(str(error)) from error

    @server.resource("photogram://jobs/{job_id}/images/{index}", title="An image of a job", mime_type="image/png")
    async def image(job_id: str, index: int, context: Context[Any, Any]) -> bytes:
        """The PNG of one image of a job; the first has the index 0."""
        try:
            async with studio.client(context) as client:
                return (await client.download(job_id, index)).data
        except (ToolError, IndexError) as error:
            raise ResourceError(str(error)) from error

"""Tools that look at images: labels, and images that show what words say."""

from __future__ import annotations

from typing import Annotated, Any

from mcp.server.mcpserver import Context, MCPServer
from mcp_types import CallToolResult
from pydantic import Field

from photogram_mcp.drawing import Source
from photogram_mcp.jobs import READS
from photogram_mcp.running import DEFAULT_WAIT_S, Wait, run_job
from photogram_mcp.studio import Studio

_FOUND_MAX = 50


def register(server: MCPServer, studio: Studio) -> None:
    """Add the tools to ``server``."""

    @server.tool(title="Label an image", annotations=READS)
    async def classify(
        context: Context[Any, Any],
        image: Source,
        model: Annotated[str | None, Field(description="A vision model; by default the built-in one.")] = None,
        wait_s: Wait = DEFAULT_WAIT_S,
    ) -> CallToolResult:
        """What an image shows: the most probable labels, each with its probability."""
        return await run_job(studio, context, "classify", {"image": image, "model": model}, ("image",), wait_s)

    @server.tool(title="Find images", annotations=READS)
    async def search_images(
        context: Context[Any, Any],
        text: Annotated[str | None, Field(description="What the images should show.")] = None,
        like: Annotated[str | None, Field(description="Instead, the source of an image: `image:<id>`.")] = None,
        limit: Annotated[int, Field(ge=1, le=_FOUND_MAX, description="How many.")] = 8,
    ) -> dict[str, Any]:
        """The images drawn before that show what words say, or that look like another one, the most similar first."""
        async with studio.client(context) as client:
            found = await client.search_images(
                text, like=None if like is None else like.removeprefix("image:"), limit=limit
            )
        return {
            "images": [
                {
                    "source": each.source, "url": each.url, "job_id": each.job_id, "prompt": each.prompt,
                    "similarity": round(each.similarity, 3), "width": each.width, "height": each.height,
                }
                for each in found
            ]
        }  # fmt: skip

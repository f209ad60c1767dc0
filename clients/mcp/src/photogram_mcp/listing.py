"""Tools that say what there is, and the one that rewrites prompts."""

from __future__ import annotations

from typing import Annotated, Any

from mcp.server.mcpserver import Context, MCPServer
from pydantic import Field

from photogram_mcp.drawing import Prompt
from photogram_mcp.jobs import READS
from photogram_mcp.studio import Studio


def register(server: MCPServer, studio: Studio) -> None:
    """Add the tools to ``server``."""

    @server.tool(title="List models", annotations=READS)
    async def list_models(context: Context[Any, Any]) -> dict[str, Any]:
        """The models that draw, with their sizes and limits."""
        async with studio.client(context) as client:
            found = await client.models()
        return {
            "models": [
                {
                    "name": each.name, "family": each.family, "is_default": each.is_default, "problem": each.problem,
                    "defaults": dict(each.defaults), "limits": dict(each.limits),
                }
                for each in found
            ]
        }  # fmt: skip

    @server.tool(title="List styles", annotations=READS)
    async def list_styles(context: Context[Any, Any]) -> dict[str, Any]:
        """The styles that create_image takes."""
        async with studio.client(context) as client:
            return {"styles": [each.name for each in await client.styles()]}

    @server.tool(title="Rewrite a prompt", annotations=READS)
    async def rewrite_prompt(
        context: Context[Any, Any],
        prompt: Prompt,
        model: Annotated[str | None, Field(description="The model that it is for.")] = None,
    ) -> dict[str, Any]:
        """Let the server's language model add details to a prompt; nothing is drawn."""
        async with studio.client(context) as client:
            found = await client.rewrite(prompt, model=model)
        return {
            "prompt": found.revised_prompt,
            "is_rewritten": found.rewrite.is_applied,
            "reason": found.rewrite.reason,
        }

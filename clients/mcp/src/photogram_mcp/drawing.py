"""Tools that draw: each submits a job and waits for it a little."""

from __future__ import annotations

from typing import Annotated, Any

from mcp.server.mcpserver import Context, MCPServer
from mcp_types import CallToolResult, ToolAnnotations
from pydantic import Field

from photogram_mcp.running import DEFAULT_WAIT_S, OwnId, Wait, run_job
from photogram_mcp.studio import Studio

Source = Annotated[
    str,
    Field(
        min_length=1,
        description="An image: `image:<id>` as tools answer, `input:<sha256>`, an https URL, or a data: URL.",
    ),
]
Prompt = Annotated[str, Field(min_length=1, description="What the image should show.")]
Side = Annotated[int | None, Field(description="In pixels, a multiple of 8; by default the model's.")]
DRAWS = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=False)


def register(server: MCPServer, studio: Studio) -> None:
    """Add the tools to ``server``."""

    @server.tool(title="Draw an image", annotations=DRAWS)
    async def create_image(
        context: Context[Any, Any],
        prompt: Prompt,
        negative_prompt: Annotated[str | None, Field(description="What it should not show.")] = None,
        width: Side = None,
        height: Side = None,
        seed: Annotated[int | None, Field(description="The same seed gives the same image.")] = None,
        model: Annotated[str | None, Field(description="A name from list_models.")] = None,
        style: Annotated[str | None, Field(description="A name from list_styles.")] = None,
        steps: Annotated[int | None, Field(ge=1, description="More are slower and finer.")] = None,
        guidance_scale: Annotated[float | None, Field(description="How closely to follow the prompt.")] = None,
        sampler: Annotated[str | None, Field(description="By default the model's.")] = None,
        best_of: Annotated[int | None, Field(description="Draw so many, and keep the one that fits best.")] = None,
        enhance_prompt: Annotated[bool | None, Field(description="Let a language model add details.")] = None,
        wait_s: Wait = DEFAULT_WAIT_S,
        job_id: OwnId = None,
    ) -> CallToolResult:
        """Draw an image from words. It answers with the image, or with the id of a job for wait_for_job."""
        params = {
            "prompt": prompt, "negative_prompt": negative_prompt, "width": width, "height": height, "seed": seed,
            "model": model, "style_preset": style, "num_inference_steps": steps, "guidance_scale": guidance_scale,
            "sampler": sampler, "best_of": best_of, "enhance_prompt": enhance_prompt,
        }  # fmt: skip
        return await run_job(studio, context, "txt2img", params, (), wait_s, job_id)

    @server.tool(title="Edit an image", annotations=DRAWS)
    async def edit_image(
        context: Context[Any, Any],
        image: Source,
        prompt: Prompt,
        strength: Annotated[
            float | None, Field(ge=0, le=1, description="From 0, which changes nothing, to 1, which keeps nothing.")
        ] = None,
        negative_prompt: Annotated[str | None, Field(description="What it should not show.")] = None,
        seed: Annotated[int | None, Field(description="The same seed gives the same image.")] = None,
        model: Annotated[str | None, Field(description="A name from list_models.")] = None,
        wait_s: Wait = DEFAULT_WAIT_S,
        job_id: OwnId = None,
    ) -> CallToolResult:
        """Draw an image anew from words, starting from another image. It answers as create_image."""
        params = {
            "image": image, "prompt": prompt, "strength": strength, "negative_prompt": negative_prompt, "seed": seed,
            "model": model,
        }  # fmt: skip
        return await run_job(studio, context, "img2img", params, ("image",), wait_s, job_id)

    @server.tool(title="Draw a part of an image anew", annotations=DRAWS)
    async def inpaint(
        context: Context[Any, Any],
        image: Source,
        mask: Annotated[str, Field(description="An image, as `image`: its light part is drawn anew.")],
        prompt: Prompt,
        seed: Annotated[int | None, Field(description="The same seed gives the same image.")] = None,
        model: Annotated[str | None, Field(description="A name from list_models.")] = None,
        wait_s: Wait = DEFAULT_WAIT_S,
        job_id: OwnId = None,
    ) -> CallToolResult:
        """Draw the light part of a mask anew, and keep the rest of the image. It answers as create_image."""
        params = {"image": image, "mask": mask, "prompt": prompt, "seed": seed, "model": model}
        return await run_job(studio, context, "inpaint", params, ("image", "mask"), wait_s, job_id)

    @server.tool(title="Enlarge an image", annotations=DRAWS)
    async def upscale(
        context: Context[Any, Any],
        image: Source,
        scale: Annotated[float | None, Field(ge=1, le=8, description="By how much.")] = None,
        upscaler: Annotated[str | None, Field(description="By default the server's.")] = None,
        wait_s: Wait = DEFAULT_WAIT_S,
        job_id: OwnId = None,
    ) -> CallToolResult:
        """Enlarge an image. It answers as create_image."""
        params = {"image": image, "scale": scale, "upscaler": upscaler}
        return await run_job(studio, context, "upscale", params, ("image",), wait_s, job_id)

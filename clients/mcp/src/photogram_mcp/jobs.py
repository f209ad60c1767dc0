"""Tools for jobs that exist, and for what one would cost."""

from __future__ import annotations

from typing import Annotated, Any

from mcp.server.mcpserver import Context, MCPServer
from mcp_types import CallToolResult, ToolAnnotations
from pydantic import Field

from photogram_mcp.answers import job_answer
from photogram_mcp.running import DEFAULT_WAIT_S, WAIT_MAX_S, follow
from photogram_mcp.studio import Studio

JobId = Annotated[str, Field(min_length=1, description="As another tool has answered.")]
READS = ToolAnnotations(read_only_hint=True, open_world_hint=False)
_LISTED_MAX, _SEARCH_MAX_CHARS = 50, 200


def register(server: MCPServer, studio: Studio) -> None:
    """Add the tools to ``server``."""

    @server.tool(title="Wait for a job", annotations=READS)
    async def wait_for_job(
        context: Context[Any, Any],
        job_id: JobId,
        wait_s: Annotated[
            float, Field(ge=0, le=WAIT_MAX_S, description="For how many seconds at most.")
        ] = DEFAULT_WAIT_S,
    ) -> CallToolResult:
        """Wait for a job, and answer with its images. If it takes longer, the answer says how far it is: call again."""
        async with studio.client(context) as client:
            return await job_answer(client, await follow(client, job_id, wait_s, context))

    @server.tool(title="Look at a job", annotations=READS)
    async def get_job(context: Context[Any, Any], job_id: JobId) -> CallToolResult:
        """The state of a job now, with its images if it is done."""
        async with studio.client(context) as client:
            return await job_answer(client, await client.jobs.get(job_id))

    @server.tool(title="List jobs", annotations=READS)
    async def list_jobs(
        context: Context[Any, Any],
        limit: Annotated[int, Field(ge=1, le=_LISTED_MAX, description="How many.")] = 10,
        search: Annotated[
            str | None,
            Field(min_length=1, max_length=_SEARCH_MAX_CHARS, description="Words that all occur in the prompt."),
        ] = None,
    ) -> dict[str, Any]:
        """The latest jobs, the newest first: to find one whose id was lost."""
        found: list[dict[str, Any]] = []
        async with studio.client(context) as client:
            async for job in client.jobs.list() if search is None else client.jobs.list(search=search):
                prompt = job.params.get("prompt")
                found.append({"job_id": job.id, "kind": job.kind, "status": job.status, "prompt": prompt})
                if len(found) >= limit:
                    break
        return {"jobs": found}

    @server.tool(
        title="Cancel a job",
        annotations=ToolAnnotations(
            read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=False
        ),
    )
    async def cancel_job(context: Context[Any, Any], job_id: JobId) -> CallToolResult:
        """Cancel a job that has not ended."""
        async with studio.client(context) as client:
            return await job_answer(client, await client.jobs.cancel(job_id))

    @server.tool(title="What a job would cost", annotations=READS)
    async def dry_run(
        context: Context[Any, Any],
        params: Annotated[
            dict[str, Any],
            Field(description="As in POST /v1/jobs, such as prompt, width, height and num_inference_steps."),
        ],
        kind: Annotated[str, Field(description="txt2img, img2img, inpaint, upscale, ...")] = "txt2img",
    ) -> dict[str, Any]:
        """What a job would cost, in millions of pixels times steps, and why it would be refused; nothing runs."""
        async with studio.client(context) as client:
            estimate = await client.dry_run_kind(kind, studio.sources.named_in(params))
        refusal = None if estimate.refusal is None else estimate.refusal.detail
        return {"kind": estimate.kind, "units": estimate.units, "refusal": refusal, "params": dict(estimate.params)}

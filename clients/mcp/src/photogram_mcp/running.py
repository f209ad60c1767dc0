"""Running a job for a tool: it is submitted, and followed for some seconds with its progress told to whoever asked."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from mcp.server.mcpserver import Context
from mcp_types import CallToolResult
from photogram import AsyncPhotogram, Job, Loading, Progressed, Queued, StatusChanged
from pydantic import Field

from photogram_mcp.answers import job_answer
from photogram_mcp.studio import Studio

DEFAULT_WAIT_S = 15.0
"""Less than the shortest limits of assistants, which are about 20 s."""
WAIT_MAX_S = 50.0
Wait = Annotated[
    float,
    Field(
        ge=0,
        le=WAIT_MAX_S,
        description="For how many seconds to wait for the image at most. If it takes longer, the answer has the id of "
        "the job, which goes on: call wait_for_job.",
    ),
]


async def run_job(
    studio: Studio,
    context: Context[Any, Any],
    kind: str,
    params: Mapping[str, object],
    images: Sequence[str],
    wait_s: float,
) -> CallToolResult:
    """Submit a job and follow it, for the answer of a tool.

    Args:
        params: those that are ``None`` are left out.
        images: the names of the parameters that name an image.
    """
    async with studio.client(context) as client:
        found = {name: studio.sources.find(str(params[name])) for name in images}
        given = {name: value for name, value in params.items() if value is not None}
        job = await client.submit_kind(kind, {**given, **found})
        return await job_answer(client, await follow(client, job, wait_s, context))


async def follow(client: AsyncPhotogram, job: Job, wait_s: float, context: Context[Any, Any]) -> Job:
    """The job as it is when it has ended, or after ``wait_s`` seconds, whichever is first."""
    if not job.is_finished and wait_s > 0:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await _tell(client, job, context)
    return job if job.is_finished else await client.jobs.get(job.id)


async def _tell(client: AsyncPhotogram, job: Job, context: Context[Any, Any]) -> None:
    """Report the progress of a job until it has ended. Progress must grow: places in the queue are told by words."""
    done = 0.0
    async for event in client.jobs.watch(job):
        match event:
            case StatusChanged(job=now) if now.is_finished:
                return
            case Queued(place=place):
                ahead = f"{place.ahead} jobs are before it" if place.ahead else "it is next"
                done = await _report(context, done, 0.0, f"waiting: {ahead}")
            case Loading(name=name):
                done = await _report(context, done, 0.0, f"loading {name}")
            case Progressed(step=step, steps=steps) if steps:
                done = await _report(context, done, step / steps, f"step {step} of {steps}")


async def _report(context: Context[Any, Any], before: float, share: float, message: str) -> float:
    """Report that ``share`` of the job is done, 0 to 1; returns what was reported, which is more each time."""
    told = max(share, before + 1e-6)
    await context.report_progress(told, 1.0, message)
    return told

"""Running a job for a tool: it is submitted, and followed for some seconds with its progress told to whoever asked."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import Annotated, Any

from mcp.server.mcpserver import Context
from mcp_types import CallToolResult
from photogram import (
    AsyncPhotogram,
    ConnectionFailed,
    Job,
    Loading,
    Progressed,
    Queued,
    ServiceUnavailable,
    StatusChanged,
    WaitTimeout,
)
from pydantic import Field

from photogram_mcp.answers import job_answer
from photogram_mcp.studio import Studio

DEFAULT_WAIT_S = 15.0
"""Less than the shortest limits of assistants, which are about 20 s."""
WAIT_MAX_S = 50.0
_ROUNDING_S = 0.05
"""The server waits for whole seconds, which are fewer when a little of the time has passed."""
_AWAY = (ConnectionFailed, ServiceUnavailable)
"""The job goes on, but the server does not tell of it now."""
Wait = Annotated[
    float,
    Field(
        ge=0,
        le=WAIT_MAX_S,
        description="For how many seconds to wait for the image at most. If it takes longer, the answer has the id of "
        "the job, which goes on: call wait_for_job.",
    ),
]
OwnId = Annotated[
    str | None,
    Field(
        pattern=r"^[A-Za-z0-9_-]{1,64}$",
        description="An id of your own for the job, 1 to 64 letters, digits, `_` and `-`, to find it by if the answer "
        "is lost. The same call with the same id gives the same job: nothing is drawn twice.",
    ),
]


async def run_job(
    studio: Studio,
    context: Context[Any, Any],
    kind: str,
    params: Mapping[str, object],
    images: Sequence[str],
    wait_s: float,
    job_id: str | None = None,
) -> CallToolResult:
    """Submit a job and follow it, for the answer of a tool.

    Args:
        params: those that are ``None`` are left out.
        images: the names of the parameters that name an image.
        job_id: of the caller; without one the server chooses.
    """
    async with studio.client(context) as client:
        found = {name: studio.sources.find(str(params[name])) for name in images}
        given = {name: value for name, value in params.items() if value is not None}
        job = await client.submit_kind(kind, {**given, **found}, job_id=job_id)
        return await job_answer(client, await follow(client, job, wait_s, context))


async def follow(client: AsyncPhotogram, job: Job | str, wait_s: float, context: Context[Any, Any]) -> Job:
    """The job as it is when it has ended, or after ``wait_s`` seconds, whichever is first.

    If the server stops or cannot be reached meanwhile, ``job`` as it was: so its id is answered, and it is not lost.

    Raises:
        PhotogramError: ``job`` is an id, and there is none with it, or the server does not answer.
    """
    if not isinstance(job, str) and job.is_finished:
        return job
    if wait_s > 0:
        with contextlib.suppress(TimeoutError, *_AWAY):
            if not _is_asked_for_progress(context):
                return await _polled(client, job, wait_s)
            async with asyncio.timeout(wait_s):
                return await _told(client, job, context)
    try:
        return await client.jobs.get(job)
    except _AWAY:
        if isinstance(job, str):
            raise
        return job


def _is_asked_for_progress(context: Context[Any, Any]) -> bool:
    meta = context.request_context.meta
    return meta is not None and meta.get("progress_token") is not None


async def _polled(client: AsyncPhotogram, job: Job | str, wait_s: float) -> Job:
    """The job after ``wait_s`` seconds, or at its end; this costs the server much less than its events."""
    try:
        return await client.jobs.wait(job, wait_s + _ROUNDING_S)
    except WaitTimeout as late:
        return late.job


async def _told(client: AsyncPhotogram, job: Job | str, context: Context[Any, Any]) -> Job:
    """The job at its end. Its progress is reported until then; as that must grow, places in the queue are only told."""
    done = 0.0
    async with aclosing(client.jobs.watch(job)) as events:
        async for event in events:
            match event:
                case StatusChanged(job=now) if now.is_finished:
                    return now
                case Queued(place=place):
                    ahead = f"{place.ahead} jobs are before it" if place.ahead else "it is next"
                    done = await _report(context, done, 0.0, f"waiting: {ahead}")
                case Loading(name=name):
                    done = await _report(context, done, 0.0, f"loading {name}")
                case Progressed(step=step, steps=steps) if steps:
                    done = await _report(context, done, step / steps, f"step {step} of {steps}")
    return await client.jobs.get(job)


async def _report(context: Context[Any, Any], before: float, share: float, message: str) -> float:
    """Report that ``share`` of the job is done, 0 to 1; returns what was reported, which is more each time."""
    told = max(share, before + 1e-6)
    await context.report_progress(told, 1.0, message)
    return told

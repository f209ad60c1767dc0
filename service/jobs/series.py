"""The jobs of one request that asks for several: queued all or none, with seeds that follow one another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from models.errors import FieldProblem, InvalidTicket
from models.jobs.params import SEED_MAX, DrawParams, DrawRequest, JobRequest
from models.jobs.payload import build
from models.jobs.records import JobRecord
from service.api.state import Gateway
from service.jobs.submission import submit


async def submit_series(
    gateway: Gateway,
    owner: str,
    wanted: DrawRequest,
    count: int,
    *,
    wire_name: Callable[[str], str],
    our_url: str | None = None,
) -> list[JobRecord]:
    """Queue ``count`` images as ``wanted``, of seeds each one above the last.

    Raises:
        InvalidTicket: they cannot be drawn; so with the other errors of :func:`submit`. None stays queued.
    """
    if wanted.seed is not None and wanted.seed + count - 1 > SEED_MAX:
        message = f"must be at most {SEED_MAX}, also for the last of {count} images"
        raise InvalidTicket([FieldProblem(wire_name("seed"), message)])
    queued: list[JobRecord] = []
    async with _all_or_none(gateway, queued):
        for index in range(count):
            following = _again(queued[0], index) if queued else wanted
            accepted = await submit(gateway, owner, following, wire_name=wire_name, our_url=our_url)
            queued.append(accepted.record)
    return queued


async def submit_all(
    gateway: Gateway,
    owner: str,
    wanted: Sequence[JobRequest],
    *,
    wire_name: Callable[[str], str],
    our_url: str | None = None,
) -> list[JobRecord]:
    """Queue all of ``wanted``; raises as :func:`submit_series`."""
    queued: list[JobRecord] = []
    async with _all_or_none(gateway, queued):
        for each in wanted:
            accepted = await submit(gateway, owner, each, wire_name=wire_name, our_url=our_url)
            queued.append(accepted.record)
    return queued


def _again(first: JobRecord, index: int) -> DrawRequest:
    """The request for what ``first`` draws, with a seed that is ``index`` above."""
    assert isinstance(first.params, DrawParams)
    payload = {**first.params.to_payload(), "kind": first.kind, "seed": first.params.seed + index}
    return build(DrawRequest, payload)


@asynccontextmanager
async def _all_or_none(gateway: Gateway, queued: Sequence[JobRecord]) -> AsyncIterator[None]:
    try:
        yield
    except BaseException:
        await asyncio.shield(_cancel(gateway, [record.job_id for record in queued]))
        raise


async def _cancel(gateway: Gateway, job_ids: Sequence[str]) -> None:
    for job_id in job_ids:
        await gateway.watcher.cancel(job_id)

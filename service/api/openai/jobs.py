"""The jobs of one request: queued all or none, with seeds that follow one another."""

from __future__ import annotations

from dataclasses import replace

from models.job import JobRecord, JobStatus
from models.params import SEED_MAX, DrawRequest
from service.api.openai.answers import draw_params
from service.api.openai.errors import OpenAiError, failed_job
from service.api.openai.translation import openai_name
from service.api.state import Gateway
from service.api.submission import submit


async def queue_all(gateway: Gateway, owner: str, wanted: DrawRequest, count: int) -> list[JobRecord]:
    """Queue ``count`` jobs for pictures as ``wanted``, of seeds each one above the last.

    Raises:
        InvalidTicket: they cannot be done; so with the other errors of :func:`submit`. None stays queued.
    """
    if wanted.seed is not None and wanted.seed + count - 1 > SEED_MAX:
        raise OpenAiError(f"seed: must be at most {SEED_MAX}, also for the last of {count} pictures", param="seed")
    queued: list[JobRecord] = []
    try:
        for index in range(count):
            seed = draw_params(queued[0]).seed + index if queued else wanted.seed
            one = replace(wanted, seed=seed)
            queued.append((await submit(gateway, owner, one, wire_name=openai_name)).record)
    except BaseException:
        for record in queued:
            await gateway.watcher.cancel(record.job_id)
        raise
    return queued


def require_pictures(records: list[JobRecord]) -> None:
    """Raise :class:`OpenAiError` if a job gave no picture."""
    for record in records:
        if record.status is not JobStatus.SUCCEEDED:
            raise failed_job(record)

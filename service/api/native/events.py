"""A job's events as Server-Sent Events."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing

from models.errors import FieldProblem, InvalidTicket
from models.jobs.records import JobRecord, JobStatus
from service.api.native.views import as_of
from service.api.sse import KEEP_ALIVE, KEEP_ALIVE_S, text_frame
from service.backbone.watch import JobEvent, JobWatcher

FROM_THE_START = "0-0"
_ID_PART_MAX = 2**63
"""Parts of a stream's ids are 64 bit numbers; ours never come near."""


def resume_point(last_event_id: str | None) -> str:
    """The stream id after which a client wants to go on; raises :class:`InvalidTicket` if it is none."""
    if not last_event_id:
        return FROM_THE_START
    parts = last_event_id.split("-")
    is_id = len(parts) == 2 and all(part.isascii() and part.isdecimal() and len(part) <= 20 for part in parts)
    if not is_id or any(int(part) >= _ID_PART_MAX for part in parts):
        raise InvalidTicket([FieldProblem("Last-Event-ID", "is not the id of an event")])
    return last_event_id


async def event_stream(
    watcher: JobWatcher, job_id: str, after: str, render: Callable[[JobRecord], str], keep_alive_s: float = KEEP_ALIVE_S
) -> AsyncIterator[str]:
    """The events after ``after``, until the job's last status; ``render`` gives a record as JSON in one line."""
    is_over = False
    async with aclosing(watcher.events(job_id, after, keep_alive_s)) as events:
        async for event in events:
            if event is None:
                yield KEEP_ALIVE
            elif event.kind != "status":
                yield text_frame(event.kind, event.data, event.event_id)
            elif record := await watcher.read(job_id):
                is_over = JobStatus(event.data).is_terminal
                yield _status_frame(event, record, render)
    # The last event may be older than what the stream kept, or than where the client resumed.
    if not is_over and (record := await watcher.read(job_id)):
        yield text_frame("status", render(record))


def _status_frame(event: JobEvent, record: JobRecord, render: Callable[[JobRecord], str]) -> str:
    return text_frame("status", render(as_of(record, JobStatus(event.data))), event.event_id)

"""The events of a job as server-sent events."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing

from starlette.types import Receive, Scope, Send

from models.errors import ProblemCode
from models.jobs.records import JobRecord, JobStatus
from service.api.errors import invalid_field
from service.api.native.views import at_status
from service.api.sse import FROM_THE_START, KEEP_ALIVE, KEEP_ALIVE_S, RECONNECT, EventStream, text_frame
from service.backbone.viewers import Viewers
from service.backbone.watch import JobEvent, JobWatcher

_ID_PART_MAX = 2**63
"""A limit for both numbers of an event id, which Redis keeps in 64 bits; the ids of real events are far smaller."""


def resume_point(last_event_id: str | None) -> str:
    """The id of the Redis stream entry after which a client resumes.

    Raises:
        InvalidTicket: ``last_event_id`` is not the id of an event.
    """
    if not last_event_id:
        return FROM_THE_START
    parts = last_event_id.split("-")
    is_id = len(parts) == 2 and all(part.isascii() and part.isdecimal() and len(part) <= 20 for part in parts)
    if not is_id or any(int(part) >= _ID_PART_MAX for part in parts):
        raise invalid_field("Last-Event-ID", "is not the id of an event", ProblemCode.MALFORMED)
    return last_event_id


async def event_stream(
    watcher: JobWatcher, job_id: str, after: str, render: Callable[[JobRecord], str], keep_alive_s: float = KEEP_ALIVE_S
) -> AsyncIterator[str]:
    """The events after the event id ``after``, up to the final status of the job.

    Args:
        render: a record as JSON in one line.
    """
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
    # The stream is capped and the client may resume after its last entry: then the final status is not in it.
    if not is_over and (record := await watcher.read(job_id)):
        yield text_frame("status", render(record))


class JobEvents(EventStream):
    """A response that streams the events of a job, which counts as watched for as long as the client reads them."""

    def __init__(self, frames: AsyncIterator[str], viewers: Viewers, job_id: str) -> None:
        super().__init__(frames, RECONNECT)
        self._viewers, self._job_id = viewers, job_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events; uvicorn cancels this call if the client disconnects."""
        async with self._viewers.watching([self._job_id]):
            await super().__call__(scope, receive, send)


def _status_frame(event: JobEvent, record: JobRecord, render: Callable[[JobRecord], str]) -> str:
    return text_frame("status", render(at_status(record, JobStatus(event.data))), event.event_id)

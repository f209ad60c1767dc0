"""The events of a job as server-sent events."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing

from starlette.types import Receive, Scope, Send

from models.errors import ProblemCode
from models.jobs.records import JobRecord, JobStatus
from service.api.errors import invalid_field
from service.api.native.views import at_status
from service.api.sse import FROM_THE_START, KEEP_ALIVE, KEEP_ALIVE_S, RECONNECT, EventStream, text_frame
from service.backbone.place_feed import PLACE, PlaceFeed
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


class Attention:
    """What the gateway does for the reader of a stream: it tells places while the job waits, and asks for previews
    while it runs."""

    def __init__(self, feed: PlaceFeed, viewers: Viewers) -> None:
        self._feed, self._viewers = feed, viewers
        self._stack = AsyncExitStack()
        self._status: JobStatus | None = None

    async def turn_to(self, record: JobRecord) -> None:
        """Do what the status of the job asks for, and no longer what it asked for before."""
        if record.status is self._status:
            return
        await self._stack.aclose()
        self._status = record.status
        if record.status is JobStatus.QUEUED:
            self._stack.enter_context(self._feed.following(record))
        elif record.status is JobStatus.RUNNING:
            await self._stack.enter_async_context(self._viewers.watching([record.job_id]))

    @property
    def is_waiting(self) -> bool:
        return self._status is JobStatus.QUEUED

    async def close(self) -> None:
        """Do nothing any more."""
        await self._stack.aclose()


async def event_stream(
    watcher: JobWatcher,
    record: JobRecord,
    after: str,
    render: Callable[[JobRecord], str],
    attention: Attention,
    keep_alive_s: float = KEEP_ALIVE_S,
) -> AsyncIterator[str]:
    """The events of the job of ``record`` after the event id ``after``, up to its final status.

    Args:
        render: a record as JSON in one line.
    """
    job_id, is_over, place = record.job_id, False, ""
    await attention.turn_to(record)  # does not suspend for a job that waits, so that nothing is told before we listen
    async with aclosing(watcher.events(job_id, after, keep_alive_s)) as events:
        async for event in events:
            if event is None:
                yield KEEP_ALIVE
            elif event.kind == PLACE:
                if attention.is_waiting and event.data != place:
                    place = event.data
                    yield text_frame(PLACE, place)
            elif event.kind != "status":
                yield text_frame(event.kind, event.data, event.event_id)
            elif current := await watcher.read(job_id):
                await attention.turn_to(current)
                is_over = JobStatus(event.data).is_terminal
                yield _status_frame(event, current, render)
    # The stream is capped and the client may resume after its last entry: then the final status is not in it.
    if not is_over and (current := await watcher.read(job_id)):
        yield text_frame("status", render(current))


class JobEvents(EventStream):
    """A response that streams the events of a job, which has the gateway's attention while the client reads them."""

    def __init__(self, frames: AsyncIterator[str], attention: Attention) -> None:
        super().__init__(frames, RECONNECT)
        self._attention = attention

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events; uvicorn cancels this call if the client disconnects."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._attention.close()


def _status_frame(event: JobEvent, record: JobRecord, render: Callable[[JobRecord], str]) -> str:
    return text_frame("status", render(at_status(record, JobStatus(event.data))), event.event_id)

"""Reads a job's event stream as typed events, and resumes it after dropped connections."""

import base64
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias, TypeVar

import httpx2

from ._errors import APIError, ConnectionFailed, UnexpectedResponse, WaitTimeout
from ._models import Job, Progress, QueuePlace, Rewrite
from ._requests import EVENTS_READ_TIMEOUT_S, Requests
from ._responses import error_of, read_event
from ._retry import Backoff, connection_failure
from ._sse import Frame, FrameDecoder


@dataclass(frozen=True, slots=True)
class StatusChanged:
    """The job has a new status; `job` is its whole state."""

    job: Job


@dataclass(frozen=True, slots=True)
class Queued:
    """The job waits: its place in the queue has changed."""

    place: QueuePlace


@dataclass(frozen=True, slots=True)
class Loading:
    """The job waits for `name`, such as a model.

    While that is downloaded, `done_bytes` of `total_bytes` are there; None if it is not downloaded, or unknown.
    """

    name: str
    done_bytes: int | None = None
    total_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Progressed:
    """Denoising step `step` of `steps` is done."""

    step: int
    steps: int


@dataclass(frozen=True, slots=True)
class Previewed:
    """A preview of the image at step `step`: encoded bytes and their media type."""

    step: int
    data: bytes = field(repr=False)
    media_type: str


@dataclass(frozen=True, slots=True)
class Rewritten:
    """The server's language model has rewritten the prompt, or failed to."""

    rewrite: Rewrite


@dataclass(frozen=True, slots=True)
class Noted:
    """The job tells something of its own, such as the loss and the scores of an epoch."""

    document: Mapping[str, object]


Event: TypeAlias = StatusChanged | Queued | Loading | Progressed | Previewed | Rewritten | Noted

T_co = TypeVar("T_co", covariant=True)

# A connection that told something after so long was no failed attempt: jobs wait for hours, and proxies cut streams.
LASTING_S = 30.0


class StreamReader(Protocol[T_co]):
    """The state of reading one stream, without I/O.

    The client sends `request()`, gives the response to `check` and its bytes to `feed`, and after each connection
    sleeps for `pause_s`, until `is_over`.
    """

    is_over: bool

    def request(self) -> httpx2.Request: ...

    def check(self, response: httpx2.Response) -> None: ...

    def feed(self, chunk: bytes) -> Iterator[T_co]: ...

    def pause_s(self, error: httpx2.RequestError | APIError | None) -> float: ...


class EventReader:
    """Reads one job's events: remembers the last one, builds the next request, and decides when to give up."""

    def __init__(self, requests: Requests, backoff: Backoff, job: Job, timeout_s: float | None) -> None:
        self.is_over = False
        self._requests = requests
        self._backoff = backoff
        self._job = job
        self._deadline = math.inf if timeout_s is None else time.monotonic() + timeout_s
        self._last_event_id: str | None = None
        self._decoder = FrameDecoder()
        self._attempt = 0
        self._opened_at = self._heard_at = time.monotonic()
        self._url = ""

    def request(self) -> httpx2.Request:
        """The request for all events after the last one."""
        self._decoder = FrameDecoder()
        self._opened_at = self._heard_at = time.monotonic()
        read_timeout_s = min(EVENTS_READ_TIMEOUT_S, max(0.1, self._deadline - time.monotonic()))
        request = self._requests.events(self._job.id, self._last_event_id, read_timeout_s)
        self._url = str(request.url)
        return request

    def check(self, response: httpx2.Response) -> None:
        """Raise the error for an unsuccessful response, whose body must have been read."""
        check_stream(response)

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """The events that `chunk` completes; unknown events are ignored."""
        self._heard_at = time.monotonic()
        for frame in self._decoder.feed(chunk):
            if frame.id is not None and frame.id != self._last_event_id:
                self._last_event_id, self._attempt = frame.id, 0
            event = _event_of(frame)
            if event is not None:
                self._update(event)
                yield event
        if not self.is_over:
            self._check_deadline()

    def pause_s(self, error: httpx2.RequestError | APIError | None) -> float:
        """Seconds until the next `request`; raises if retrying is useless or the deadline has passed."""
        if self.is_over:
            return 0.0
        self._check_deadline()
        if self._heard_at - self._opened_at > LASTING_S:
            self._attempt = 0
        failure = error if isinstance(error, APIError) else self._stream_failure(error)
        pause_s = self._backoff.pause_s(failure, self._attempt)
        if pause_s is None:
            raise failure
        self._attempt += 1
        return pause_s

    def _update(self, event: Event) -> None:
        if isinstance(event, StatusChanged):
            self._job = event.job
            self.is_over = event.job.is_finished

    def _check_deadline(self) -> None:
        if time.monotonic() >= self._deadline:
            raise WaitTimeout(self._job)

    def _stream_failure(self, error: httpx2.RequestError | None) -> ConnectionFailed:
        cause = error or httpx2.RemoteProtocolError("the event stream ended before the job finished")
        return connection_failure(self._url, cause)


def check_stream(response: httpx2.Response) -> None:
    """Raise an error unless `response` is an event stream; the body of an unsuccessful one must have been read."""
    if not response.is_success:
        raise error_of(response)
    kind = response.headers.get("content-type", "")
    if not kind.startswith("text/event-stream"):
        raise UnexpectedResponse(
            f"{response.request.url} answered with {kind or 'no content type'} instead of text/event-stream"
        )


def _event_of(frame: Frame) -> Event | None:
    reader = _READERS.get(frame.name)
    return None if reader is None else read_event(reader, frame.data)


def _status_changed(data: str) -> StatusChanged:
    return StatusChanged(Job.from_payload(json.loads(data)))


def _queued(data: str) -> Queued:
    return Queued(QueuePlace.from_payload(json.loads(data)))


def _loading(data: str) -> Loading:
    payload = json.loads(data)
    return Loading(str(payload["name"]), payload.get("done_bytes"), payload.get("total_bytes"))


def _progressed(data: str) -> Progressed:
    progress = Progress.from_payload(json.loads(data))
    return Progressed(progress.step, progress.steps)


def _previewed(data: str) -> Previewed:
    payload = json.loads(data)
    head, _, encoded = payload["image"].partition(";base64,")
    return Previewed(int(payload["step"]), base64.b64decode(encoded, validate=True), head.removeprefix("data:"))


def _rewritten(data: str) -> Rewritten:
    return Rewritten(Rewrite.from_payload(json.loads(data)))


def _noted(data: str) -> Noted:
    return Noted(dict(json.loads(data)))


_READERS: dict[str, Callable[[str], Event]] = {
    "status": _status_changed,
    "queue": _queued,
    "loading": _loading,
    "progress": _progressed,
    "preview": _previewed,
    "rewrite": _rewritten,
    "note": _noted,
}

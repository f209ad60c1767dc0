"""Event streams read piece by piece: a job's as typed events, followed across dropped connections."""

import base64
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias, TypeVar

import httpx

from ._errors import APIError, ConnectionFailed, UnexpectedResponse, WaitTimeout
from ._models import Job, Progress, Rewrite
from ._requests import EVENTS_SILENCE_S, Requests
from ._responses import error_of, read_event
from ._retry import Backoff, connection_failure
from ._sse import Frame, FrameDecoder


@dataclass(frozen=True, slots=True)
class StatusChanged:
    """The job has a new status; `job` is all of it."""

    job: Job


@dataclass(frozen=True, slots=True)
class Progressed:
    """Denoising step `step` of `steps` is done."""

    step: int
    steps: int


@dataclass(frozen=True, slots=True)
class Previewed:
    """How the image looks at step `step`: encoded bytes and their media type."""

    step: int
    data: bytes = field(repr=False)
    media_type: str


@dataclass(frozen=True, slots=True)
class Rewritten:
    """The server's language model is done with the prompt, whatever came of it."""

    rewrite: Rewrite


Event: TypeAlias = StatusChanged | Progressed | Previewed | Rewritten

T_co = TypeVar("T_co", covariant=True)


class Reading(Protocol[T_co]):
    """The state of reading one stream. It does no I/O.

    The client asks `request()`, hands the answer to `check` and its bytes to `feed`, and at the end of each connection,
    whatever ended it, asks `pause_s` how long to wait, until `is_over`.
    """

    is_over: bool

    def request(self) -> httpx.Request: ...

    def check(self, response: httpx.Response) -> None: ...

    def feed(self, chunk: bytes) -> Iterator[T_co]: ...

    def pause_s(self, error: httpx.RequestError | APIError | None) -> float: ...


class EventReading:
    """The reading of one job's events: what was seen, what to ask for next, when to give up."""

    def __init__(self, requests: Requests, backoff: Backoff, job: Job, timeout_s: float | None) -> None:
        self.is_over = False
        self._requests = requests
        self._backoff = backoff
        self._job = job
        self._deadline = math.inf if timeout_s is None else time.monotonic() + timeout_s
        self._last_event_id: str | None = None
        self._decoder = FrameDecoder()
        self._attempt = 0
        self._url = ""

    def request(self) -> httpx.Request:
        """The request for what was not seen yet."""
        self._decoder = FrameDecoder()
        silence_s = min(EVENTS_SILENCE_S, max(0.1, self._deadline - time.monotonic()))
        request = self._requests.events(self._job.id, self._last_event_id, silence_s)
        self._url = str(request.url)
        return request

    def check(self, response: httpx.Response) -> None:
        """Raise what a refusal (its body read) stands for."""
        check_stream(response)

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """The events that `chunk` completes; those that this version does not know are passed over."""
        for frame in self._decoder.feed(chunk):
            if frame.id is not None and frame.id != self._last_event_id:
                self._last_event_id, self._attempt = frame.id, 0
            event = _event_of(frame)
            if event is not None:
                self._note(event)
                yield event
        if not self.is_over:
            self._check_deadline()

    def pause_s(self, error: httpx.RequestError | APIError | None) -> float:
        """Seconds until the next `request`; raises once there is no hope or no time left."""
        if self.is_over:
            return 0.0
        self._check_deadline()
        failure = error if isinstance(error, APIError) else self._break_off(error)
        pause_s = self._backoff.pause_s(failure, self._attempt)
        if pause_s is None:
            raise failure
        self._attempt += 1
        return pause_s

    def _note(self, event: Event) -> None:
        if isinstance(event, StatusChanged):
            self._job = event.job
            self.is_over = event.job.is_finished

    def _check_deadline(self) -> None:
        if time.monotonic() >= self._deadline:
            raise WaitTimeout(self._job)

    def _break_off(self, error: httpx.RequestError | None) -> ConnectionFailed:
        cause = error or httpx.RemoteProtocolError("the event stream ended before the job did")
        return connection_failure(self._url, cause)


def check_stream(response: httpx.Response) -> None:
    """Raise what `response` stands for where it is no stream of events; a refusal's body must be read."""
    if not response.is_success:
        raise error_of(response)
    kind = response.headers.get("content-type", "")
    if not kind.startswith("text/event-stream"):
        raise UnexpectedResponse(f"{response.request.url} answered with {kind or 'no type'}, not with events")


def _event_of(frame: Frame) -> Event | None:
    reader = _READERS.get(frame.name)
    return None if reader is None else read_event(reader, frame.data)


def _status_changed(data: str) -> StatusChanged:
    return StatusChanged(Job.from_payload(json.loads(data)))


def _progressed(data: str) -> Progressed:
    progress = Progress.from_payload(json.loads(data))
    return Progressed(progress.step, progress.steps)


def _previewed(data: str) -> Previewed:
    payload = json.loads(data)
    head, _, encoded = payload["image"].partition(";base64,")
    return Previewed(int(payload["step"]), base64.b64decode(encoded, validate=True), head.removeprefix("data:"))


def _rewritten(data: str) -> Rewritten:
    return Rewritten(Rewrite.from_payload(json.loads(data)))


_READERS: dict[str, Callable[[str], Event]] = {
    "status": _status_changed,
    "progress": _progressed,
    "preview": _previewed,
    "rewrite": _rewritten,
}

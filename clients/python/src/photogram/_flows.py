"""What the clients do, without doing any I/O: each operation is a generator of effects, run by a sync or async client.

A flow yields `Send`, `Sleep` or `Listen`; the client performs it and sends the answer back, or throws in whatever was
raised on the way, interruptions among them. So retries, waiting and cancelling are written once for both clients.
"""

import contextlib
import itertools
import math
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import httpx

from ._config import Config
from ._errors import (
    AuthenticationError,
    InvalidParams,
    JobCanceled,
    JobFailed,
    PermissionDenied,
    PhotogramError,
    UnexpectedResponse,
    WaitTimeout,
)
from ._events import Event, EventReading
from ._images import ImageSource, kind_of
from ._language import Proposal, RewrittenPrompt
from ._models import GeneratedImage, Job, Model, Sampler
from ._requests import Requests, new_job_id
from ._responses import error_of, read
from ._retry import Backoff, connection_failure
from ._rewriting import RewriteReading

# The server waits 60 s at most; proxies often give up at 60 s themselves.
LONGEST_POLL_S = 30
# The pause between two polls, so that a server that does not wait is not asked in a hot loop.
POLL_PAUSE_S = 0.25
# An interrupted caller wants to leave: cancelling gets one attempt of this length.
FAREWELL_S = 5.0
# After these there is certainly no job to cancel.
_REFUSALS = (AuthenticationError, PermissionDenied, InvalidParams)


@dataclass(frozen=True, slots=True)
class Send:
    """Send `request`, answer with the response, its body read; `is_shielded`: also while being cancelled."""

    request: httpx.Request
    follow_redirects: bool = False
    is_shielded: bool = False


@dataclass(frozen=True, slots=True)
class Sleep:
    """Do nothing for `seconds`."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Listen:
    """Hand every event of `job` to `on_event`, until it is finished."""

    job: Job
    on_event: Callable[[Event], None]
    timeout_s: float | None


T = TypeVar("T")
Effect: TypeAlias = Send | Sleep | Listen
Flow: TypeAlias = Generator[Effect, Any, T]


class Flows:
    """The operations on one server."""

    def __init__(self, config: Config) -> None:
        self._requests = Requests(config)
        self._backoff = Backoff(config.max_retries)

    def submit(self, kind: str, job_id: str | None, params: Mapping[str, object]) -> Flow[Job]:
        return (yield from self._job(self._requests.submit(kind, job_id, params)))

    def get(self, job_id: str) -> Flow[Job]:
        return (yield from self._job(self._requests.job(job_id)))

    def cancel(self, job_id: str) -> Flow[Job]:
        return (yield from self._job(self._requests.cancel(job_id)))

    def wait(self, job_id: str, timeout_s: float | None) -> Flow[Job]:
        deadline = math.inf if timeout_s is None else time.monotonic() + timeout_s
        while True:
            left_s = max(0.0, deadline - time.monotonic())
            # Whole seconds go to the server, the rest is waited for here.
            request = self._requests.job(job_id, wait_s=int(min(LONGEST_POLL_S, left_s)))
            job = read((yield from self._call(request, deadline=deadline)), Job.from_payload)
            if job.is_finished:
                return job
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise WaitTimeout(job)
            yield Sleep(min(POLL_PAUSE_S, left_s))

    def download(self, job: Job | str, index: int) -> Flow[GeneratedImage]:
        if isinstance(job, str) or not job.is_finished:
            job = yield from self.get(job_id_of(job))
        _check_succeeded(job)
        images = job.result.images if job.result else ()
        if not 0 <= index < len(images):
            raise ValueError(f"job {job.id} has {len(images)} images, there is no image {index}")
        request = self._requests.image(images[index].url)
        response = yield from self._call(request, follow_redirects=True)
        return GeneratedImage(_image_bytes(response), images[index].width, images[index].height, _seed_of(job), job)

    def generate(
        self,
        kind: str,
        timeout_s: float | None,
        on_event: Callable[[Event], None] | None,
        params: Mapping[str, object],
    ) -> Flow[GeneratedImage]:
        # With an id chosen here a job can be cancelled also when the answer to its submission never came.
        job_id = new_job_id()
        submission = self._requests.submit(kind, job_id, params)
        try:
            job = yield from self._job(submission)
            if on_event is not None:
                yield Listen(job, on_event, timeout_s)
            finished = yield from self.wait(job_id, timeout_s)
        except (GeneratorExit, *_REFUSALS):
            raise
        except BaseException:
            yield from self._abandon(job_id)
            raise
        return (yield from self.download(finished, 0))

    def rewrite(self, asked: Mapping[str, object]) -> Flow[RewrittenPrompt]:
        response = yield from self._call(self._requests.rewrite(asked))
        return read(response, RewrittenPrompt.from_payload)

    def assist(
        self,
        message: str,
        job: Job | Proposal | Mapping[str, object] | None,
        images: ImageSource | Sequence[ImageSource],
    ) -> Flow[Proposal]:
        if isinstance(job, Job | Proposal):
            job = {"kind": job.kind, "params": job.params}
        sources = (images,) if isinstance(images, ImageSource) else images
        response = yield from self._call(self._requests.assist(message, job, sources))
        return read(response, Proposal.from_payload)

    def models(self) -> Flow[list[Model]]:
        response = yield from self._call(self._requests.models())
        return read(response, lambda payload: [Model.from_payload(model) for model in payload["models"]])

    def samplers(self) -> Flow[list[Sampler]]:
        response = yield from self._call(self._requests.samplers())
        return read(response, lambda payload: [Sampler.from_payload(sampler) for sampler in payload["samplers"]])

    def reading(self, job: Job, timeout_s: float | None) -> EventReading:
        return EventReading(self._requests, self._backoff, job, timeout_s)

    def reading_rewrite(self, asked: Mapping[str, object]) -> RewriteReading:
        return RewriteReading(self._requests, self._backoff, asked)

    def _job(self, request: httpx.Request) -> Flow[Job]:
        response = yield from self._call(request)
        return read(response, Job.from_payload)

    def _abandon(self, job_id: str) -> Flow[None]:
        with contextlib.suppress(httpx.RequestError):
            yield Send(self._requests.cancel(job_id, limit_s=FAREWELL_S), is_shielded=True)

    def _call(
        self, request: httpx.Request, *, follow_redirects: bool = False, deadline: float = math.inf
    ) -> Flow[httpx.Response]:
        """Send until there is a success, or a failure that another attempt cannot mend before `deadline`."""
        for attempt in itertools.count():
            failure: PhotogramError
            try:
                response: httpx.Response = yield Send(request, follow_redirects)
            except httpx.RequestError as error:
                failure = connection_failure(str(request.url), error)
            else:
                if response.is_success:
                    return response
                failure = error_of(response)
            pause_s = self._backoff.pause_s(failure, attempt)
            if pause_s is None or time.monotonic() + pause_s > deadline:
                raise failure
            yield Sleep(pause_s)
        raise AssertionError("attempts are counted without end")


def order_of(prompt: str | Proposal, kind: str | None, params: Mapping[str, object]) -> tuple[str, dict[str, object]]:
    """Kind and parameters of the job that draws `prompt`; of a proposal, `params` take the place of its own."""
    if isinstance(prompt, Proposal):
        return kind or prompt.kind, {**prompt.params, **params}
    return kind or kind_of(params), {"prompt": prompt, **params}


def job_id_of(job: Job | str) -> str:
    return job if isinstance(job, str) else job.id


def _check_succeeded(job: Job) -> None:
    if job.status == "failed":
        raise JobFailed(job)
    if job.status == "canceled":
        raise JobCanceled(job)
    if job.status != "succeeded":
        raise ValueError(f"job {job.id} is still {job.status}: wait for it before downloading")


def _image_bytes(response: httpx.Response) -> bytes:
    kind = response.headers.get("content-type", "")
    if not kind.startswith("image/"):
        raise UnexpectedResponse(f"{response.request.url} answered with {kind or 'no type'}, not with an image")
    return response.content


def _seed_of(job: Job) -> int | None:
    seed = job.params.get("seed")
    return seed if isinstance(seed, int) else None

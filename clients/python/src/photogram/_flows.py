"""The operations without I/O (sans-I/O): each is a generator of effects that the sync or the async client performs.

A flow yields `Send`, `Sleep` or `Listen`. The client performs the effect and sends the result back, or throws the
exception into the flow, including interruptions. Thus retries, waiting and cancellation are written once for both.
"""

import contextlib
import itertools
import math
import os
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar, cast

import httpx2

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
from ._events import Event, EventReader
from ._formats import check_format
from ._images import BinaryFile, Bytes, ImageSource, is_image, kind_of
from ._language import Proposal, RewrittenPrompt
from ._log import logger
from ._models import (
    BatchItem,
    Deletion,
    DownloadedImage,
    Estimate,
    Image,
    Job,
    OwnImage,
    Payload,
    Readiness,
    UploadedArchive,
    UploadedImage,
    Usage,
)
from ._provenance import Provenance
from ._requests import Requests, new_job_id
from ._responses import error_of, read
from ._retry import Backoff, connection_failure
from ._rewriting import RewriteReader
from ._searching import Duplicates, FoundImage, encoded, known_source

# The server allows 60 s, but many proxies time out after 60 s.
MAX_POLL_S = 30
# The pause between polls prevents a busy loop with a server that does not long-poll.
POLL_PAUSE_S = 0.25
# After an interruption, cancelling the job gets one attempt with this time limit.
CANCEL_TIMEOUT_S = 5.0
MAX_REDIRECTS = 5
# As many jobs as the server takes in a batch; each is a request of its own.
MAX_N = 1000
# After these errors the submission has made no job that could be canceled.
_REFUSALS = (AuthenticationError, PermissionDenied, InvalidParams)

Listener: TypeAlias = Callable[[Event], None]
"""Is called with each event of a job."""


@dataclass(frozen=True, slots=True)
class Send:
    """Send `request` and return the response with its body read; `is_shielded`: even if the task is being cancelled."""

    request: httpx2.Request
    is_shielded: bool = False


@dataclass(frozen=True, slots=True)
class Sleep:
    seconds: float


@dataclass(frozen=True, slots=True)
class Listen:
    """Call `on_event` with every event of `job`, until it is finished."""

    job: Job
    on_event: Listener
    timeout_s: float | None


@dataclass(frozen=True, slots=True)
class Following:
    """How a call follows its jobs: for how long, and who is told of the events."""

    timeout_s: float | None = None
    on_event: Listener | None = None


T = TypeVar("T")
Effect: TypeAlias = Send | Sleep | Listen
Flow: TypeAlias = Generator[Effect, Any, T]


class Flows:
    def __init__(self, config: Config) -> None:
        self._base_url, self._requests = config.base_url, Requests(config)
        self._backoff = Backoff(config.max_retries)

    def submit(
        self,
        kind: str,
        job_id: str | None,
        params: Mapping[str, object],
        options: Mapping[str, object] | None = None,
        webhook: str | None = None,
    ) -> Flow[Job]:
        return (yield from self._job(self._requests.submit(kind, job_id, params, options or {}, webhook)))

    def dry_run(self, kind: str, params: Mapping[str, object], options: Mapping[str, object] | None) -> Flow[Estimate]:
        response = yield from self._call(self._requests.dry_run(kind, params, options or {}))
        return read(response, Estimate.from_payload)

    def batch(self, jobs: Iterable[Mapping[str, object]], key: str | None, *, partial: bool) -> Flow[list[BatchItem]]:
        response = yield from self._call(self._requests.batch(jobs, key, partial=partial))
        return read(response, lambda payload: [BatchItem.from_payload(item) for item in payload["items"]])

    def page(
        self, name: str, entry: Callable[[Payload], T], filters: Mapping[str, object], cursor: str | None
    ) -> Flow[tuple[list[T], str | None]]:
        response = yield from self._call(self._requests.page(name, filters, cursor))
        return read(response, lambda payload: ([entry(each) for each in payload[name]], payload["next"]))

    def delete(self, job_id: str) -> Flow[None]:
        yield from self._call(self._requests.delete(job_id))

    def delete_all(self) -> Flow[Deletion]:
        response = yield from self._call(self._requests.delete_all())
        return read(response, Deletion.from_payload)

    def delete_image(self, job_id: str, image_id: str) -> Flow[None]:
        yield from self._call(self._requests.delete_image(job_id, image_id))

    def search_images(
        self, sought: Mapping[str, object], image: ImageSource | None, filters: Mapping[str, object]
    ) -> Flow[list[FoundImage]]:
        """Search for `image`, which is uploaded if the server does not have it, or for what else is in `sought`."""
        if image is not None:
            source = known_source(image, self._base_url)
            if source is None:
                source = (yield from self.upload(encoded(image))).source
            sought = {**sought, "image": source}
        response = yield from self._call(self._requests.search(sought, filters))
        return read(response, lambda payload: [FoundImage.from_payload(each) for each in payload["images"]])

    def duplicate_images(self, max_distance: int, limit: int) -> Flow[Duplicates]:
        response = yield from self._call(self._requests.duplicates(max_distance, limit))
        return read(response, Duplicates.from_payload)

    def usage(self) -> Flow[Usage]:
        response = yield from self._call(self._requests.usage())
        return read(response, Usage.from_payload)

    def get(self, job_id: str) -> Flow[Job]:
        return (yield from self._job(self._requests.job(job_id)))

    def cancel(self, job_id: str) -> Flow[Job]:
        return (yield from self._job(self._requests.cancel(job_id)))

    def tell(self, job_id: str, text: str, question: str | None) -> Flow[Job]:
        return (yield from self._job(self._requests.tell(job_id, text, question)))

    def wait(self, job_id: str, timeout_s: float | None) -> Flow[Job]:
        deadline = math.inf if timeout_s is None else time.monotonic() + timeout_s
        while True:
            left_s = max(0.0, deadline - time.monotonic())
            # The server takes whole seconds; the flow sleeps for the rest.
            request = self._requests.job(job_id, wait_s=int(min(MAX_POLL_S, left_s)))
            job = read((yield from self._call(request, deadline=deadline)), Job.from_payload)
            if job.is_finished:
                return job
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise WaitTimeout(job)
            yield Sleep(min(POLL_PAUSE_S, left_s))

    def download(self, job: Job | str, index: int, file_format: str) -> Flow[DownloadedImage]:
        check_format(file_format)
        if isinstance(job, str) or not job.is_finished:
            job = yield from self.get(job_id_of(job))
        check_succeeded(job)
        images = job.result.images if job.result else ()
        if not 0 <= index < len(images):
            raise ValueError(f"job {job.id} has {len(images)} images, so there is no image {index}")
        image = images[index]
        data = yield from self.download_image(image, file_format)
        seed = _seed_of(job) if image.seed is None else image.seed
        return DownloadedImage(data, image.width, image.height, seed, job, file_format, index)

    def download_image(self, image: Image | OwnImage, file_format: str) -> Flow[bytes]:
        check_format(file_format)
        request = self._requests.image(image.url.removesuffix(".png") + f".{file_format}")
        return _image_bytes((yield from self._download(request)))

    def download_file(self, job: Job | str, index: int) -> Flow[bytes]:
        request = self._requests.file(job_id_of(job), index)
        return (yield from self._download(request)).content

    def draw(
        self,
        kind: str,
        every: Sequence[Mapping[str, object]],
        following: Following,
        options: Mapping[str, object] | None,
        file_format: str,
        *,
        wants_all: bool = False,
    ) -> Flow[list[DownloadedImage]]:
        """Run a job for each of the parameters in `every`, and download the first image of each, or all."""
        check_format(file_format)
        images = []
        for job in (yield from self.finish(kind, every, following, options)):
            count = len(job.result.images) if wants_all and job.result else 1
            for index in range(count):
                images.append((yield from self.download(job, index, file_format)))
        return images

    def finish(
        self,
        kind: str,
        every: Sequence[Mapping[str, object]],
        following: Following,
        options: Mapping[str, object] | None,
    ) -> Flow[list[Job]]:
        """Run a job for each of the parameters in `every`; whatever ends this call before them cancels the others."""
        # The client chooses the ids, so that it can cancel a job even if the response to its submission is lost.
        ids = [new_job_id() for _ in every]
        submissions = [
            self._requests.submit(kind, job_id, params, options or {})
            for job_id, params in zip(ids, every, strict=True)
        ]
        deadline = math.inf if following.timeout_s is None else time.monotonic() + following.timeout_s
        jobs: list[Job] = []
        sent = finished = 0
        try:
            for submission in submissions:
                sent += 1
                jobs.append((yield from self._job(submission)))
            for number, job in enumerate(jobs):
                jobs[number] = yield from self._finished(job, following.on_event, deadline)
                finished = number + 1
                check_succeeded(jobs[number])
        except GeneratorExit:
            raise
        except BaseException as error:
            is_refused = len(jobs) < sent and isinstance(error, _REFUSALS)
            yield from self._cancel_after_interruption(ids[finished : sent - is_refused])
            raise
        return jobs

    def _finished(self, job: Job, on_event: Listener | None, deadline: float) -> Flow[Job]:
        if on_event is not None:
            yield Listen(job, on_event, _left_s(deadline))
        return (yield from self.wait(job.id, _left_s(deadline)))

    def rewrite(self, options: Mapping[str, object]) -> Flow[RewrittenPrompt]:
        response = yield from self._call(self._requests.rewrite(options))
        return read(response, RewrittenPrompt.from_payload)

    def assist(
        self,
        message: str,
        job: Job | Proposal | Mapping[str, object] | None,
        images: ImageSource | Sequence[ImageSource],
    ) -> Flow[Proposal]:
        if isinstance(job, Job | Proposal):
            job = {"kind": job.kind, "params": job.params}
        sources = [images] if is_image(images) else cast("Sequence[ImageSource]", images)
        response = yield from self._call(self._requests.assist(message, job, sources))
        return read(response, Proposal.from_payload)

    def upload(self, image: ImageSource) -> Flow[UploadedImage]:
        response = yield from self._call(self._requests.upload(image))
        return read(response, UploadedImage.from_payload)

    def upload_archive(self, data: Bytes | os.PathLike[str] | BinaryFile) -> Flow[UploadedArchive]:
        response = yield from self._call(self._requests.upload_archive(data))
        return read(response, UploadedArchive.from_payload)

    def verify_provenance(self, image: ImageSource) -> Flow[Provenance]:
        response = yield from self._call(self._requests.verify_provenance(image))
        return read(response, Provenance.from_payload)

    def listing(self, name: str, entry: Callable[[Payload], T], key: str | None = None) -> Flow[list[T]]:
        response = yield from self._call(self._requests.listing(name))
        return read(response, lambda payload: [entry(each) for each in payload[key or name]])

    def readiness(self) -> Flow[Readiness]:
        request = self._requests.readiness()
        try:
            response: httpx2.Response = yield Send(request)
        except httpx2.RequestError as error:
            raise connection_failure(str(request.url), error) from error
        if response.status_code not in (200, 503):
            raise error_of(response)
        return read(response, Readiness.from_payload)

    def call(self, method: str, path: str, reader: Callable[[Payload], T], body: object = None) -> Flow[T]:
        return read((yield from self._call(self._requests.call(method, path, body))), reader)

    def send(self, method: str, path: str) -> Flow[None]:
        yield from self._call(self._requests.call(method, path, None))

    def event_reader(self, job: Job, timeout_s: float | None) -> EventReader:
        return EventReader(self._requests, self._backoff, job, timeout_s)

    def rewrite_reader(self, options: Mapping[str, object]) -> RewriteReader:
        return RewriteReader(self._requests, self._backoff, options)

    def _job(self, request: httpx2.Request) -> Flow[Job]:
        response = yield from self._call(request)
        return read(response, Job.from_payload)

    def _cancel_after_interruption(self, ids: Iterable[str]) -> Flow[None]:
        for job_id in ids:
            with contextlib.suppress(httpx2.RequestError):
                yield Send(self._requests.cancel(job_id, timeout_s=CANCEL_TIMEOUT_S), is_shielded=True)

    def _download(self, request: httpx2.Request) -> Flow[httpx2.Response]:
        """The response that has the file, also if the server redirects to where the file is stored."""
        for _ in range(MAX_REDIRECTS + 1):
            response = yield from self._call(request, may_redirect=True)
            if response.next_request is None:
                return response
            request = self._requests.redirected(response.next_request)
        raise UnexpectedResponse(f"{request.url} redirects too often")

    def _call(
        self, request: httpx2.Request, *, may_redirect: bool = False, deadline: float = math.inf
    ) -> Flow[httpx2.Response]:
        """Send until a success, or until a failure that no retry before `deadline` could fix."""
        for attempt in itertools.count():
            failure: PhotogramError
            try:
                response: httpx2.Response = yield Send(request)
            except httpx2.RequestError as error:
                failure = connection_failure(str(request.url), error)
            else:
                if response.is_success or (may_redirect and response.next_request is not None):
                    return response
                failure = error_of(response)
            pause_s = self._backoff.pause_s(failure, attempt)
            if pause_s is None or time.monotonic() + pause_s > deadline:
                raise failure
            logger.info("%s %s again in %.2f s: %s", request.method, request.url.path, pause_s, failure)
            yield Sleep(pause_s)
        raise AssertionError("itertools.count has no end")


def kind_and_params(
    prompt: str | Proposal, kind: str | None, params: Mapping[str, object]
) -> tuple[str, dict[str, object]]:
    """Kind and parameters of the job for `prompt`; `params` override those of a proposal.

    Raises ValueError for bytes, which would be sent in Base64 as an image is.
    """
    if isinstance(prompt, Proposal):
        return kind or prompt.kind, {**prompt.params, **params}
    if is_image(prompt) and not isinstance(prompt, str):
        raise ValueError(f"a prompt is a text, got {type(prompt).__name__}")
    return kind or kind_of(params), {"prompt": prompt, **params}


def job_id_of(job: Job | str) -> str:
    return job if isinstance(job, str) else job.id


def check_succeeded(job: Job) -> None:
    """Raises JobFailed, JobCanceled, and ValueError if the job has not ended."""
    if job.status == "failed":
        raise JobFailed(job)
    if job.status == "canceled":
        raise JobCanceled(job)
    if job.status != "succeeded":
        raise ValueError(f"job {job.id} is still {job.status}: wait for it before downloading")


def each_of(params: Mapping[str, object], count: int) -> list[dict[str, object]]:
    """The parameters of `count` jobs: the seeds follow one another, if there is a seed; else each is drawn.

    Those of a job with `best_of` follow all candidates of the one before.
    """
    if not isinstance(count, int) or not 1 <= count <= MAX_N:
        raise ValueError(f"n must be a whole number from 1 to {MAX_N}, got {count!r}")
    seed, best_of = params.get("seed"), params.get("best_of")
    if not isinstance(seed, int) or seed < 0:
        return [dict(params) for _ in range(count)]
    step = best_of if isinstance(best_of, int) else 1
    return [{**params, "seed": seed + number * step} for number in range(count)]


def _left_s(deadline: float) -> float | None:
    return None if math.isinf(deadline) else max(0.0, deadline - time.monotonic())


def _image_bytes(response: httpx2.Response) -> bytes:
    kind = response.headers.get("content-type", "")
    if not kind.startswith("image/"):
        raise UnexpectedResponse(f"{response.request.url} answered with {kind or 'no type'}, not with an image")
    return response.content


def _seed_of(job: Job) -> int | None:
    seed = job.params.get("seed")
    return seed if isinstance(seed, int) else None

"""The blocking client: performs each effect of a flow in the calling thread."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar, Unpack

import httpx

from ._config import DEFAULT_MAX_RETRIES, DEFAULT_TIMEOUT_S, Config
from ._errors import APIError
from ._events import Event, StreamReader
from ._flows import Effect, Flow, Flows, Listen, Send, Sleep, job_id_of, kind_and_params
from ._images import ImageSource
from ._language import Proposal, RewriteOptions, RewrittenPrompt
from ._models import (
    BatchItem,
    Deletion,
    Estimate,
    GeneratedImage,
    Job,
    Lora,
    Model,
    OwnImage,
    Payload,
    Sampler,
    Style,
    UploadedImage,
    Upscaler,
    Usage,
)
from ._params import FaceRestoreParams, JobFilters, JobOptions, Params, UpscaleParams
from ._provenance import Provenance
from ._webhooks import Webhooks

T = TypeVar("T")


class Photogram:
    """A client of one Photogram server.

        with Photogram() as client:
            client.generate("a lighthouse at dusk", seed=7).save("lighthouse.png")

    `base_url` and `api_key` default to the environment's `PHOTOGRAM_URL` (else http://127.0.0.1:8000) and
    `PHOTOGRAM_API_KEY`. `timeout_s` limits connecting and each wait for data, not the whole job. Lost connections and
    the statuses 429, 502, 503 and 504 are retried up to `max_retries` times, with exponential backoff or after the
    server's Retry-After; all requests are idempotent. `transport` is an httpx transport to use instead of the network.
    One client may be used by many threads.

    Raises ValueError for invalid settings. Every method may raise `PhotogramError` and its subclasses.
    """

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        max_retries: int = DEFAULT_MAX_RETRIES,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        config = Config.resolve(base_url, api_key, timeout_s, max_retries)
        self._flows = Flows(config)
        self._http = httpx.Client(transport=transport)
        self.base_url = config.base_url
        self.webhooks = Webhooks(self._flows, self._run)

    def generate(
        self,
        prompt: str | Proposal,
        *,
        timeout_s: float | None = None,
        on_event: Callable[[Event], None] | None = None,
        options: JobOptions | None = None,
        **params: Unpack[Params],
    ) -> GeneratedImage:
        """Generate one image and download it.

            image = client.generate("a cat", num_inference_steps=20, width=512, height=512)
            image = client.generate("a cat in oil", image=Path("cat.png"), strength=0.6)
            image = client.generate("a hat", image=Path("cat.png"), mask=Path("head.png"))

        With `image` the job is img2img, with `mask` inpaint, which changes only the light part of the mask. Each is a
        file, bytes, or a string that the server resolves: a URL, `input:...` or `image:...`; a mask may also be a
        `MaskParams`. With `enhance_prompt=True` the server's language model rewrites the prompt first, if it can;
        `image.job` has both prompts. Instead of a prompt you may pass a proposal of `assist`; `params` override its
        parameters. `on_event` is called with every event of the job. If this call ends before the job (by Ctrl-C,
        after `timeout_s` seconds, or by a lost connection), the job is canceled. Raises InvalidParams, JobFailed,
        JobCanceled, WaitTimeout.
        """
        kind, all_params = kind_and_params(prompt, None, params)
        return self._run(self._flows.generate(kind, timeout_s, on_event, all_params, options))

    def upscale(
        self,
        image: ImageSource,
        *,
        timeout_s: float | None = None,
        on_event: Callable[[Event], None] | None = None,
        options: JobOptions | None = None,
        **params: Unpack[UpscaleParams],
    ) -> GeneratedImage:
        """Enlarge an image to `scale` (0.1 to 8) times its width and height, and download the result.

            image = client.upscale(Path("cat.png"), scale=4)

        Cancels the job and raises as `generate` does.
        """
        return self._run(self._flows.generate("upscale", timeout_s, on_event, {"image": image, **params}, options))

    def restore_faces(
        self,
        image: ImageSource,
        *,
        timeout_s: float | None = None,
        on_event: Callable[[Event], None] | None = None,
        options: JobOptions | None = None,
        **params: Unpack[FaceRestoreParams],
    ) -> GeneratedImage:
        """Restore the faces in an image, and download the result; cancels the job and raises as `generate` does."""
        all_params = {"image": image, **params}
        return self._run(self._flows.generate("face_restore", timeout_s, on_event, all_params, options))

    def submit(
        self,
        prompt: str | Proposal,
        *,
        kind: str | None = None,
        job_id: str | None = None,
        webhook: str | None = None,
        options: JobOptions | None = None,
        **params: Unpack[Params],
    ) -> Job:
        """Queue a job and return at once; by default `kind` follows from the images, as in `generate`.

        A `job_id` of your own (1 to 64 letters, digits, `_`, `-`) makes the call idempotent, also across processes: the
        same request returns the same job, and another request with this id raises Conflict. The URL `webhook` gets an
        event when the job has ended; the API key needs a signing secret (`webhooks.rotate_secret`).
        """
        kind, all_params = kind_and_params(prompt, kind, params)
        return self._run(self._flows.submit(kind, job_id, all_params, options, webhook))

    def dry_run(
        self,
        prompt: str | Proposal,
        *,
        kind: str | None = None,
        options: JobOptions | None = None,
        **params: Unpack[Params],
    ) -> Estimate:
        """What `submit` would make of the same arguments, and what it would cost; no job is made.

        Raises InvalidParams as `submit`; a limit or a full queue is the estimate's `.refusal`.
        """
        kind, all_params = kind_and_params(prompt, kind, params)
        return self._run(self._flows.dry_run(kind, all_params, options))

    def submit_batch(
        self, jobs: Sequence[Mapping[str, object]], *, partial: bool = False, idempotency_key: str | None = None
    ) -> list[BatchItem]:
        """Queue up to 1,000 jobs at once: all of them or none.

            jobs = [{"params": {"prompt": "a cat", "seed": seed}, "tags": ["cats"]} for seed in range(9)]
            items = client.submit_batch(jobs)

        Each job has `params`, and may have a `kind` and the keys of `JobOptions`. With `partial` each is accepted or
        refused by itself. The same `idempotency_key` with the same jobs gives the same jobs. Raises InvalidParams.
        """
        return self._run(self._flows.batch(jobs, idempotency_key, partial=partial))

    def get(self, job_id: str) -> Job:
        """The job as it is now; raises NotFound."""
        return self._run(self._flows.get(job_id))

    def wait(self, job: Job | str, timeout_s: float | None = None) -> Job:
        """Block until the job is finished, in whatever state, and return it; raises WaitTimeout after `timeout_s`."""
        return self._run(self._flows.wait(job_id_of(job), timeout_s))

    def cancel(self, job: Job | str) -> Job:
        """Request cancellation; a running job may still be `running` in the answer. A finished job does not change."""
        return self._run(self._flows.cancel(job_id_of(job)))

    def delete(self, job: Job | str) -> None:
        """Delete a job with its events, images and files; one that has not ended is canceled. Raises NotFound."""
        self._run(self._flows.delete(job_id_of(job)))

    def delete_all(self) -> Deletion:
        """Delete all jobs of the API key, as `delete` does; after an error it may be called again."""
        return self._run(self._flows.delete_all())

    def delete_image(self, image: OwnImage) -> None:
        """Delete one image; its job stays. Raises NotFound."""
        self._run(self._flows.delete_image(image.job_id, image.id))

    def jobs(self, **filters: Unpack[JobFilters]) -> Iterator[Job]:
        """The jobs of the API key that pass all filters, the newest first; further pages are fetched as you go.

        for job in client.jobs(status="failed", tag="cats", search="red"):
            print(job.id)
        """
        yield from self._pages("jobs", Job.from_payload, filters)

    def images(self, **filters: Unpack[JobFilters]) -> Iterator[OwnImage]:
        """The images of those jobs that `jobs` gives."""
        yield from self._pages("images", OwnImage.from_payload, filters)

    def usage(self) -> Usage:
        """What the API key uses now and used, and its limits."""
        return self._run(self._flows.usage())

    def download(self, job: Job | str, index: int = 0, *, file_format: str = "png") -> GeneratedImage:
        """Download an image of a succeeded job as a `png`, `jpg` or `webp` file.

        Raises JobFailed or JobCanceled if the job has no image, ValueError if it is not finished.
        """
        return self._run(self._flows.download(job, index, file_format))

    def stream(self, job: Job | str, timeout_s: float | None = None) -> Iterator[Event]:
        """The job's events, from the first to its final status.

            for event in client.stream(job):
                if isinstance(event, Progressed):
                    print(f"{event.step}/{event.steps}")

        Resumes after a dropped connection (Last-Event-ID). Raises WaitTimeout after `timeout_s` seconds, at the latest
        with the next heartbeat of the server, which comes every 15 s.
        """
        yield from self._follow(self._flows.event_reader(self.get(job) if isinstance(job, str) else job, timeout_s))

    def rewrite(self, prompt: str, **options: Unpack[RewriteOptions]) -> RewrittenPrompt:
        """Let the server's language model rewrite a prompt, without generating an image.

            client.rewrite("a fox", model="sdxl").revised_prompt

        The style of the text fits the image model `model`, or follows `profile`; the same `seed` gives the same text.
        `negative_prompt=True` also writes a negative prompt. Without a language model the prompt comes back unchanged,
        and `.rewrite.reason` says why. Raises InvalidParams.
        """
        return self._run(self._flows.rewrite({"prompt": prompt, **options}))

    def stream_rewrite(self, prompt: str, **options: Unpack[RewriteOptions]) -> Iterator[str | RewrittenPrompt]:
        """Like `rewrite`, but streamed: pieces of text, then the RewrittenPrompt.

        The result says whether the text of the pieces is used. Raises ConnectionFailed if the stream breaks after its
        first piece.
        """
        return self._follow(self._flows.rewrite_reader({"prompt": prompt, **options}))

    def assist(
        self,
        message: str,
        *,
        job: Job | Proposal | Mapping[str, object] | None = None,
        images: ImageSource | Sequence[ImageSource] = (),
    ) -> Proposal:
        """Let the server's language model turn a request in plain words into a job; `generate` and `submit` take it.

            proposal = client.assist("a postcard of a lighthouse, wide")
            client.generate(proposal).save("postcard.png")

        With `job` (a job, a proposal, or a mapping with kind and params) the message asks for changes to it. `images`
        are one or more images to start from, each as in `generate`. Raises NoProposal, LanguageUnavailable,
        InvalidParams.
        """
        return self._run(self._flows.assist(message, job, images))

    def upload(self, image: bytes | Path) -> UploadedImage:
        """Upload an image, so that several jobs can start from it by its `.source`; raises OSError, InvalidParams."""
        return self._run(self._flows.upload(image))

    def verify_provenance(self, image: ImageSource) -> Provenance:
        """What an image says of how it came about: IPTC, C2PA, the watermark and its parameters.

        `image` is a file, bytes, or `image:...` or `input:...` of an image that the server has. Raises OSError,
        InvalidParams.
        """
        return self._run(self._flows.verify_provenance(image))

    def models(self) -> list[Model]:
        """The models in the server's catalog."""
        return self._run(self._flows.listing("models", Model.from_payload))

    def samplers(self) -> list[Sampler]:
        """The samplers of the server."""
        return self._run(self._flows.listing("samplers", Sampler.from_payload))

    def upscalers(self) -> list[Upscaler]:
        """The upscalers of the server."""
        return self._run(self._flows.listing("upscalers", Upscaler.from_payload))

    def loras(self) -> list[Lora]:
        """The LoRAs in the server's catalog."""
        return self._run(self._flows.listing("loras", Lora.from_payload))

    def styles(self) -> list[Style]:
        """The style presets of the server."""
        return self._run(self._flows.listing("styles", Style.from_payload))

    def close(self) -> None:
        """Close the connections; the client cannot be used afterwards."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _pages(self, name: str, entry: Callable[[Payload], T], filters: Mapping[str, object]) -> Iterator[T]:
        cursor: str | None = None
        while True:
            entries, cursor = self._run(self._flows.page(name, entry, filters, cursor))
            yield from entries
            if cursor is None:
                return

    def _follow(self, reader: StreamReader[T]) -> Iterator[T]:
        while not reader.is_over:
            error: httpx.RequestError | APIError | None = None
            try:
                with closing(self._http.send(reader.request(), stream=True)) as response:
                    if not response.is_success:
                        response.read()
                    reader.check(response)
                    for chunk in response.iter_bytes():
                        yield from reader.feed(chunk)
                        if reader.is_over:
                            break
            except (httpx.RequestError, APIError) as caught:
                error = caught
            time.sleep(reader.pause_s(error))

    def _run(self, flow: Flow[T]) -> T:
        try:
            effect = next(flow)
            while True:
                try:
                    answer = self._perform(effect)
                except BaseException as error:
                    effect = flow.throw(error)
                else:
                    effect = flow.send(answer)
        except StopIteration as done:
            result: T = done.value
            return result

    def _perform(self, effect: Effect) -> httpx.Response | None:
        match effect:
            case Send(request, follow_redirects):
                return self._http.send(request, follow_redirects=follow_redirects)
            case Sleep(seconds):
                time.sleep(seconds)
            case Listen(job, on_event, timeout_s):
                for event in self.stream(job, timeout_s):
                    on_event(event)
        return None

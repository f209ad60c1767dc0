"""The asyncio client: performs each effect of a flow by awaiting it."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
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
from ._webhooks import AsyncWebhooks

T = TypeVar("T")


class AsyncPhotogram:
    """`Photogram` for asyncio: the same methods, awaited.

        async with AsyncPhotogram() as client:
            image = await client.generate("a lighthouse at dusk", seed=7)

    A cancelled `generate` cancels its job before the cancellation propagates.
    """

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        max_retries: int = DEFAULT_MAX_RETRIES,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        config = Config.resolve(base_url, api_key, timeout_s, max_retries)
        self._flows = Flows(config)
        self._http = httpx.AsyncClient(transport=transport)
        self.base_url = config.base_url
        self.webhooks = AsyncWebhooks(self._flows, self._run)

    async def generate(
        self,
        prompt: str | Proposal,
        *,
        timeout_s: float | None = None,
        on_event: Callable[[Event], None] | None = None,
        options: JobOptions | None = None,
        **params: Unpack[Params],
    ) -> GeneratedImage:
        """Generate one image and download it; see `Photogram.generate`. `on_event` is not a coroutine."""
        kind, all_params = kind_and_params(prompt, None, params)
        return await self._run(self._flows.generate(kind, timeout_s, on_event, all_params, options))

    async def upscale(
        self,
        image: ImageSource,
        *,
        timeout_s: float | None = None,
        on_event: Callable[[Event], None] | None = None,
        options: JobOptions | None = None,
        **params: Unpack[UpscaleParams],
    ) -> GeneratedImage:
        """Enlarge an image and download the result; see `Photogram.upscale`."""
        return await self._run(
            self._flows.generate("upscale", timeout_s, on_event, {"image": image, **params}, options)
        )

    async def restore_faces(
        self,
        image: ImageSource,
        *,
        timeout_s: float | None = None,
        on_event: Callable[[Event], None] | None = None,
        options: JobOptions | None = None,
        **params: Unpack[FaceRestoreParams],
    ) -> GeneratedImage:
        """Restore the faces in an image and download the result; see `Photogram.restore_faces`."""
        return await self._run(
            self._flows.generate("face_restore", timeout_s, on_event, {"image": image, **params}, options)
        )

    async def submit(
        self,
        prompt: str | Proposal,
        *,
        kind: str | None = None,
        job_id: str | None = None,
        webhook: str | None = None,
        options: JobOptions | None = None,
        **params: Unpack[Params],
    ) -> Job:
        """Queue a job and return at once; see `Photogram.submit`."""
        kind, all_params = kind_and_params(prompt, kind, params)
        return await self._run(self._flows.submit(kind, job_id, all_params, options, webhook))

    async def dry_run(
        self,
        prompt: str | Proposal,
        *,
        kind: str | None = None,
        options: JobOptions | None = None,
        **params: Unpack[Params],
    ) -> Estimate:
        """What `submit` would make of the same arguments; see `Photogram.dry_run`."""
        kind, all_params = kind_and_params(prompt, kind, params)
        return await self._run(self._flows.dry_run(kind, all_params, options))

    async def submit_batch(
        self, jobs: Sequence[Mapping[str, object]], *, partial: bool = False, idempotency_key: str | None = None
    ) -> list[BatchItem]:
        """Queue up to 1,000 jobs at once: all of them or none; see `Photogram.submit_batch`."""
        return await self._run(self._flows.batch(jobs, idempotency_key, partial=partial))

    async def get(self, job_id: str) -> Job:
        """The job as it is now; raises NotFound."""
        return await self._run(self._flows.get(job_id))

    async def wait(self, job: Job | str, timeout_s: float | None = None) -> Job:
        """Wait until the job is finished, in whatever state, and return it; raises WaitTimeout after `timeout_s`."""
        return await self._run(self._flows.wait(job_id_of(job), timeout_s))

    async def cancel(self, job: Job | str) -> Job:
        """Request cancellation; a running job may still be `running` in the answer. A finished job does not change."""
        return await self._run(self._flows.cancel(job_id_of(job)))

    async def delete(self, job: Job | str) -> None:
        """Delete a job with its events, images and files; one that has not ended is canceled. Raises NotFound."""
        await self._run(self._flows.delete(job_id_of(job)))

    async def delete_all(self) -> Deletion:
        """Delete all jobs of the API key, as `delete` does; after an error it may be called again."""
        return await self._run(self._flows.delete_all())

    async def delete_image(self, image: OwnImage) -> None:
        """Delete one image; its job stays. Raises NotFound."""
        await self._run(self._flows.delete_image(image.job_id, image.id))

    async def jobs(self, **filters: Unpack[JobFilters]) -> AsyncGenerator[Job, None]:
        """The jobs of the API key that pass all filters, the newest first; see `Photogram.jobs`."""
        async for each in self._pages("jobs", Job.from_payload, filters):
            yield each

    async def images(self, **filters: Unpack[JobFilters]) -> AsyncGenerator[OwnImage, None]:
        """The images of those jobs that `jobs` gives."""
        async for each in self._pages("images", OwnImage.from_payload, filters):
            yield each

    async def usage(self) -> Usage:
        """What the API key uses now and used, and its limits."""
        return await self._run(self._flows.usage())

    async def download(self, job: Job | str, index: int = 0, *, file_format: str = "png") -> GeneratedImage:
        """Download an image of a succeeded job; see `Photogram.download`."""
        return await self._run(self._flows.download(job, index, file_format))

    async def stream(self, job: Job | str, timeout_s: float | None = None) -> AsyncGenerator[Event, None]:
        """The job's events, from the first to its final status; see `Photogram.stream`.

            async for event in client.stream(job):
                print(event)

        To leave the loop early, use `contextlib.aclosing`, so that the connection is closed at once.
        """
        reader = self._flows.event_reader(await self.get(job) if isinstance(job, str) else job, timeout_s)
        async with aclosing(self._follow(reader)) as events:
            async for event in events:
                yield event

    async def rewrite(self, prompt: str, **options: Unpack[RewriteOptions]) -> RewrittenPrompt:
        """Let the server's language model rewrite a prompt; see `Photogram.rewrite`."""
        return await self._run(self._flows.rewrite({"prompt": prompt, **options}))

    def stream_rewrite(
        self, prompt: str, **options: Unpack[RewriteOptions]
    ) -> AsyncGenerator[str | RewrittenPrompt, None]:
        """The pieces of a rewrite and its result; see `Photogram.stream_rewrite`. Leave early as in `stream`."""
        return self._follow(self._flows.rewrite_reader({"prompt": prompt, **options}))

    async def assist(
        self,
        message: str,
        *,
        job: Job | Proposal | Mapping[str, object] | None = None,
        images: ImageSource | Sequence[ImageSource] = (),
    ) -> Proposal:
        """Let the server's language model turn a request in plain words into a job; see `Photogram.assist`."""
        return await self._run(self._flows.assist(message, job, images))

    async def upload(self, image: bytes | Path) -> UploadedImage:
        """Upload an image, so that several jobs can start from it by its `.source`; raises OSError, InvalidParams."""
        return await self._run(self._flows.upload(image))

    async def verify_provenance(self, image: ImageSource) -> Provenance:
        """What an image says of how it came about: IPTC, C2PA, the watermark and its parameters.

        `image` is a file, bytes, or `image:...` or `input:...` of an image that the server has. Raises OSError,
        InvalidParams.
        """
        return await self._run(self._flows.verify_provenance(image))

    async def models(self) -> list[Model]:
        """The models in the server's catalog."""
        return await self._run(self._flows.listing("models", Model.from_payload))

    async def samplers(self) -> list[Sampler]:
        """The samplers of the server."""
        return await self._run(self._flows.listing("samplers", Sampler.from_payload))

    async def upscalers(self) -> list[Upscaler]:
        """The upscalers of the server."""
        return await self._run(self._flows.listing("upscalers", Upscaler.from_payload))

    async def loras(self) -> list[Lora]:
        """The LoRAs in the server's catalog."""
        return await self._run(self._flows.listing("loras", Lora.from_payload))

    async def styles(self) -> list[Style]:
        """The style presets of the server."""
        return await self._run(self._flows.listing("styles", Style.from_payload))

    async def close(self) -> None:
        """Close the connections; the client cannot be used afterwards."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _pages(
        self, name: str, entry: Callable[[Payload], T], filters: Mapping[str, object]
    ) -> AsyncGenerator[T, None]:
        cursor: str | None = None
        while True:
            entries, cursor = await self._run(self._flows.page(name, entry, filters, cursor))
            for each in entries:
                yield each
            if cursor is None:
                return

    async def _follow(self, reader: StreamReader[T]) -> AsyncGenerator[T, None]:
        while not reader.is_over:
            error: httpx.RequestError | APIError | None = None
            try:
                async with aclosing(await self._http.send(reader.request(), stream=True)) as response:
                    if not response.is_success:
                        await response.aread()
                    reader.check(response)
                    async for chunk in response.aiter_bytes():
                        for piece in reader.feed(chunk):
                            yield piece
                        if reader.is_over:
                            break
            except (httpx.RequestError, APIError) as caught:
                error = caught
            await asyncio.sleep(reader.pause_s(error))

    async def _run(self, flow: Flow[T]) -> T:
        try:
            effect = next(flow)
            while True:
                try:
                    answer = await self._perform(effect)
                except BaseException as error:
                    effect = flow.throw(error)
                else:
                    effect = flow.send(answer)
        except StopIteration as done:
            result: T = done.value
            return result

    async def _perform(self, effect: Effect) -> httpx.Response | None:
        match effect:
            case Send(request, follow_redirects, is_shielded):
                sending = self._http.send(request, follow_redirects=follow_redirects)
                return await (asyncio.shield(sending) if is_shielded else sending)
            case Sleep(seconds):
                await asyncio.sleep(seconds)
            case Listen(job, on_event, timeout_s):
                async with aclosing(self.stream(job, timeout_s)) as events:
                    async for event in events:
                        on_event(event)
        return None

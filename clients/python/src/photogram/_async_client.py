"""The client of a server: `_client.py` is generated from `_async_client.py`, and so are the other pairs of modules."""

import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, Unpack, overload

import httpx2

from ._async_handles import AsyncGeneratedImage, AsyncJobHandle
from ._async_jobs import AsyncJobs
from ._async_keys import AsyncKeys
from ._async_kinds import AsyncKindMethods
from ._async_performer import AsyncPerformer
from ._async_webhooks import AsyncWebhooks
from ._config import DEFAULT_MAX_RETRIES, DEFAULT_TIMEOUT_S, Config
from ._filters import JobFilters
from ._flows import Flows, Following, Listener, each_of, kind_and_params
from ._images import BinaryFile, Bytes, ImageSource, OnServer, check_given
from ._language import Proposal, RewriteOptions, RewrittenPrompt
from ._log import configure_log
from ._models import (
    BatchItem,
    Capability,
    Estimate,
    Image,
    Job,
    Lora,
    Model,
    OwnImage,
    Readiness,
    Sampler,
    ServerInfo,
    Style,
    UploadedArchive,
    UploadedImage,
    Upscaler,
    Usage,
)
from ._params import EditParams, JobOptions, MaskParams, Params
from ._provenance import Provenance
from ._searching import Duplicates, FoundImage, check_one_given, image_id_of


class AsyncPhotogram(AsyncKindMethods):
    """A client of one Photogram server.

        async with AsyncPhotogram() as client:
            image = await client.generate("a lighthouse at dusk", seed=7)
            await image.save("lighthouse.png")

    `base_url` and `api_key` default to the environment's `PHOTOGRAM_URL` (else http://127.0.0.1:8000) and
    `PHOTOGRAM_API_KEY`. `timeout_s` limits connecting and each wait for data, not the whole job. Lost connections and
    the statuses 429, 502, 503 and 504 are retried up to `max_retries` times, with exponential backoff or after the
    server's Retry-After; all requests are idempotent. `headers` are added to every request to the server, such as those
    that a proxy in front of it needs. `http_client` is a client of httpx2 to use instead of an own one, for proxies,
    certificates and tests; the caller closes it. One client may be used by many threads or tasks.
    `Photogram` blocks, `AsyncPhotogram` is for asyncio: the methods are the same, awaited.

    Raises ValueError for invalid settings. Every method may raise `PhotogramError` and its subclasses.
    """

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        max_retries: int = DEFAULT_MAX_RETRIES,
        headers: Mapping[str, str] | None = None,
        http_client: httpx2.AsyncClient | None = None,
    ) -> None:
        configure_log()
        config = Config.resolve(base_url, api_key, timeout_s, max_retries, headers)
        self._use(config, http_client or httpx2.AsyncClient(), owns_http=http_client is None)

    def _use(self, config: Config, http: httpx2.AsyncClient, *, owns_http: bool) -> None:
        self._config, self.base_url = config, config.base_url
        self._flows = Flows(config)
        self._performer = AsyncPerformer(self._flows, http, owns_http=owns_http)
        self._run = self._performer.run
        self.jobs = AsyncJobs(self._performer)
        self.keys = AsyncKeys(self._performer)
        self.webhooks = AsyncWebhooks(self._performer)

    def with_options(
        self,
        *,
        api_key: str | None = None,
        timeout_s: float | None = None,
        max_retries: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Self:
        """A client with other settings, or more headers, that shares the connections of this one, which must stay open.

        client.with_options(timeout_s=5, max_retries=0).models()
        """
        other = object.__new__(type(self))
        config = self._config.replaced(api_key, timeout_s, max_retries, headers)
        other._use(config, self._performer.http, owns_http=False)
        return other

    @overload
    async def generate(
        self, prompt: str | Proposal, *, n: None = None, file_format: str = "png", timeout_s: float | None = None,
        on_event: Listener | None = None, options: JobOptions | None = None, **params: Unpack[Params],
    ) -> AsyncGeneratedImage: ...  # fmt: skip

    @overload
    async def generate(
        self, prompt: str | Proposal, *, n: int, file_format: str = "png", timeout_s: float | None = None,
        on_event: Listener | None = None, options: JobOptions | None = None, **params: Unpack[Params],
    ) -> list[AsyncGeneratedImage]: ...  # fmt: skip

    async def generate(
        self,
        prompt: str | Proposal,
        *,
        n: int | None = None,
        file_format: str = "png",
        timeout_s: float | None = None,
        on_event: Listener | None = None,
        options: JobOptions | None = None,
        **params: Unpack[Params],
    ) -> AsyncGeneratedImage | list[AsyncGeneratedImage]:
        """Generate an image and download it; with `n`, a list of so many images, each by a job of its own.

            image = await client.generate("a cat", num_inference_steps=20, width=512, height=512)
            images = await client.generate("a cat", n=4, seed=7)  # the seeds 7 to 10
            best = await client.generate("a cat", best_of=8)

        With `image` the job is img2img, with `mask` inpaint, as `edit` and `inpaint` make them. With
        `enhance_prompt=True` the server's language model rewrites the prompt first, if it can; `image.job` has both
        prompts. Instead of a prompt you may pass a proposal of `assist`; `params` override its parameters.
        Of the images that a job keeps, the first is returned, which fits the prompt best; with `n`, all of each job.
        `file_format` is `png`, `jpg` or `webp`. `on_event` is called with every event of the jobs, one job after
        another; it is not a coroutine. If this call ends before a job (by Ctrl-C, after `timeout_s` seconds, or by a
        lost connection), the job is canceled. Raises InvalidParams, JobFailed, JobCanceled, WaitTimeout.
        """
        kind, all_params = kind_and_params(prompt, None, params)
        every, following = each_of(all_params, 1 if n is None else n), Following(timeout_s, on_event)
        images = await self._draw(kind, every, following, options, file_format, wants_all=n is not None)
        return images[0] if n is None else images

    @overload
    async def edit(
        self, prompt: str, image: ImageSource, *, n: None = None, file_format: str = "png",
        timeout_s: float | None = None, on_event: Listener | None = None, options: JobOptions | None = None,
        **params: Unpack[EditParams],
    ) -> AsyncGeneratedImage: ...  # fmt: skip

    @overload
    async def edit(
        self, prompt: str, image: ImageSource, *, n: int, file_format: str = "png",
        timeout_s: float | None = None, on_event: Listener | None = None, options: JobOptions | None = None,
        **params: Unpack[EditParams],
    ) -> list[AsyncGeneratedImage]: ...  # fmt: skip

    async def edit(self, prompt: str, image: ImageSource, **settings: Any) -> Any:
        """Generate from an image and words (img2img), with the parameters of `generate`.

            image = await client.edit("a cat in oil", Path("cat.png"), strength=0.6)

        `image` is a string that the server resolves (a URL, a `data:` URL, `input:...`, `image:...`), bytes, a path, an
        open file, an image of Pillow or an array of uint8, an upload, or an earlier result.
        """
        check_given(image=image)
        return await self.generate(prompt, image=image, **settings)

    @overload
    async def inpaint(
        self, prompt: str, image: ImageSource, mask: ImageSource | MaskParams, *, n: None = None,
        file_format: str = "png", timeout_s: float | None = None, on_event: Listener | None = None,
        options: JobOptions | None = None, **params: Unpack[EditParams],
    ) -> AsyncGeneratedImage: ...  # fmt: skip

    @overload
    async def inpaint(
        self, prompt: str, image: ImageSource, mask: ImageSource | MaskParams, *, n: int,
        file_format: str = "png", timeout_s: float | None = None, on_event: Listener | None = None,
        options: JobOptions | None = None, **params: Unpack[EditParams],
    ) -> list[AsyncGeneratedImage]: ...  # fmt: skip

    async def inpaint(self, prompt: str, image: ImageSource, mask: ImageSource | MaskParams, **settings: Any) -> Any:
        """Generate the light part of a mask anew, with the parameters of `generate`.

            image = await client.inpaint("a hat", Path("cat.png"), Path("head.png"))

        Image and mask are as in `edit`; a mask may also be a `MaskParams`.
        """
        check_given(image=image, mask=mask)
        return await self.generate(prompt, image=image, mask=mask, **settings)

    async def submit(
        self,
        prompt: str | Proposal,
        *,
        kind: str | None = None,
        job_id: str | None = None,
        webhook: str | None = None,
        options: JobOptions | None = None,
        **params: Unpack[Params],
    ) -> AsyncJobHandle:
        """Queue a job and return at once; by default `kind` follows from the images, as in `generate`.

        A `job_id` of your own (1 to 64 letters, digits, `_`, `-`) makes the call idempotent, also across processes: the
        same request returns the same job, and another request with this id raises Conflict. The URL `webhook` gets an
        event when the job has ended; the API key needs a signing secret (`webhooks.rotate_secret`).
        """
        kind, all_params = kind_and_params(prompt, kind, params)
        return await self.submit_kind(kind, all_params, job_id=job_id, webhook=webhook, options=options)

    async def submit_kind(
        self,
        kind: str,
        params: Mapping[str, object],
        *,
        job_id: str | None = None,
        webhook: str | None = None,
        options: JobOptions | None = None,
    ) -> AsyncJobHandle:
        """Queue a job of any kind that the server has, by all its parameters; see `submit` and `capabilities`."""
        job = await self._run(self._flows.submit(kind, job_id, params, options, webhook))
        return AsyncJobHandle.of(self._performer, job)

    async def dry_run(
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
        return await self.dry_run_kind(kind, all_params, options=options)

    async def dry_run_kind(
        self, kind: str, params: Mapping[str, object], *, options: JobOptions | None = None
    ) -> Estimate:
        """What `submit_kind` would make of the same arguments; see `dry_run`."""
        return await self._run(self._flows.dry_run(kind, params, options))

    async def submit_batch(
        self, jobs: Sequence[Mapping[str, object]], *, partial: bool = False, idempotency_key: str | None = None
    ) -> list[BatchItem]:
        """Queue up to 1,000 jobs at once: all of them or none.

            jobs = [{"params": {"prompt": "a cat", "seed": seed}, "tags": ["cats"]} for seed in range(9)]
            items = await client.submit_batch(jobs)

        Each job has `params`, and may have a `kind` and the keys of `JobOptions`. With `partial` each is accepted or
        refused by itself. The same `idempotency_key` with the same jobs gives the same jobs. Raises InvalidParams.
        """
        return await self._run(self._flows.batch(jobs, idempotency_key, partial=partial))

    async def images(self, **filters: Unpack[JobFilters]) -> AsyncGenerator[OwnImage, None]:
        """The images of those jobs that `jobs.list` gives."""
        async for image in self._performer.pages("images", OwnImage.from_payload, filters):
            yield image

    async def search_images(
        self,
        text: str | None = None,
        *,
        image: ImageSource | None = None,
        like: str | OnServer | None = None,
        limit: int = 20,
        min_similarity: float | None = None,
        **filters: Unpack[JobFilters],
    ) -> list[FoundImage]:
        """The images of the API key that show what `text` says, or that look like another one, the most similar first.

            for image in await client.search_images("a red apple", limit=5):
                print(image.similarity, image.url)

        `image` is as in `edit`, and uploaded if the server does not have it; URLs must be of this server. `like` is the
        id of an image of a job, or the image, or a job that has just one: it is not among what is found. Exactly one
        of the three is given. The filters are those of `jobs.list` without `status`. Raises InvalidParams, and
        NotFound for an image `like` that the API key does not have.
        """
        check_one_given({"text": text, "image": image, "like": like})
        image_id = None if like is None else image_id_of(like)
        sought = {"text": text, "like": image_id, "limit": limit, "min_similarity": min_similarity}
        return await self._run(self._flows.search_images(sought, image, filters))

    async def duplicate_images(self, max_distance: int = 4, limit: int = 20) -> Duplicates:
        """Groups of images of the API key that are nearly equal, the largest first.

        `max_distance` is the most bits, of 64, in which their perceptual hashes may differ (6 at most). Raises
        InvalidParams.
        """
        return await self._run(self._flows.duplicate_images(max_distance, limit))

    async def delete_image(self, image: OwnImage) -> None:
        """Delete one image; its job stays. Raises NotFound."""
        await self._run(self._flows.delete_image(image.job_id, image.id))

    async def usage(self) -> Usage:
        """What the API key uses now and used, and its limits."""
        return await self._run(self._flows.usage())

    async def download(self, job: Job | str, index: int = 0, *, file_format: str = "png") -> AsyncGeneratedImage:
        """Download an image of a succeeded job as a `png`, `jpg` or `webp` file.

        Raises JobFailed or JobCanceled if the job has no image, ValueError if it is not finished.
        """
        image = await self._run(self._flows.download(job, index, file_format))
        return AsyncGeneratedImage.of(self._performer, image)

    async def download_image(self, image: Image | OwnImage, *, file_format: str = "png") -> bytes:
        """Download an image that `images`, `search_images` or the result of a job names; raises NotFound."""
        return await self._run(self._flows.download_image(image, file_format))

    async def download_file(self, job: Job | str, index: int = 0) -> bytes:
        """Download a file that a succeeded job made, one of its `result.files`; raises NotFound if there is none."""
        return await self._run(self._flows.download_file(job, index))

    async def rewrite(self, prompt: str, **options: Unpack[RewriteOptions]) -> RewrittenPrompt:
        """Let the server's language model rewrite a prompt, without generating an image.

            (await client.rewrite("a fox", model="sdxl")).revised_prompt

        The style of the text fits the image model `model`, or follows `profile`; the same `seed` gives the same text.
        `negative_prompt=True` also writes a negative prompt. Without a language model the prompt comes back unchanged,
        and `.rewrite.reason` says why. Raises InvalidParams.
        """
        return await self._run(self._flows.rewrite({"prompt": prompt, **options}))

    def stream_rewrite(
        self, prompt: str, **options: Unpack[RewriteOptions]
    ) -> AsyncGenerator[str | RewrittenPrompt, None]:
        """Like `rewrite`, but streamed: pieces of text, then the RewrittenPrompt.

        The result says whether the text of the pieces is used. Raises ConnectionFailed if the stream breaks after its
        first piece.
        """
        return self._performer.follow(self._flows.rewrite_reader({"prompt": prompt, **options}))

    async def assist(
        self,
        message: str,
        *,
        job: Job | Proposal | Mapping[str, object] | None = None,
        images: ImageSource | Sequence[ImageSource] = (),
    ) -> Proposal:
        """Let the server's language model turn a request in plain words into a job; `generate` and `submit` take it.

            proposal = await client.assist("a postcard of a lighthouse, wide")
            image = await client.generate(proposal)

        With `job` (a job, a proposal, or a mapping with kind and params) the message asks for changes to it. `images`
        are one or more images to start from, each as in `edit`. Raises NoProposal, LanguageUnavailable,
        InvalidParams.
        """
        return await self._run(self._flows.assist(message, job, images))

    async def upload(self, image: ImageSource) -> UploadedImage:
        """Upload an image, so that several jobs can start from it; raises OSError, InvalidParams."""
        return await self._run(self._flows.upload(image))

    async def upload_archive(self, data: Bytes | os.PathLike[str] | BinaryFile) -> UploadedArchive:
        """Upload the data set of a job: a zip archive, or a folder, which is packed; raises OSError, InvalidParams."""
        return await self._run(self._flows.upload_archive(data))

    async def verify_provenance(self, image: ImageSource) -> Provenance:
        """What an image says of how it came about: IPTC, C2PA, the watermark and its parameters.

        `image` is as in `edit`, except URLs. Raises OSError, InvalidParams.
        """
        return await self._run(self._flows.verify_provenance(image))

    async def capabilities(self) -> list[Capability]:
        """The kinds of job, and why the server can do none of some kind."""
        return await self._run(self._flows.listing("capabilities", Capability.from_payload, key="kinds"))

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

    async def server_info(self) -> ServerInfo:
        """The version of the server, and how full its queues are."""
        return await self._run(self._flows.call("GET", "/v1/capabilities", ServerInfo.from_payload))

    async def readiness(self) -> Readiness:
        """What the server's checks of itself found: storage, Redis, workers, models, language model."""
        return await self._run(self._flows.readiness())

    async def close(self) -> None:
        """Close the connections; the client cannot be used afterwards."""
        await self._performer.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

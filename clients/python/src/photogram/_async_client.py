"""The asyncio client: performs each effect of a flow by awaiting it."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Self, TypeVar, Unpack

import httpx

from ._config import DEFAULT_MAX_RETRIES, DEFAULT_TIMEOUT_S, Config
from ._errors import APIError
from ._events import Event, Reading
from ._flows import Effect, Flow, Flows, Listen, Send, Sleep, job_id_of, order_of
from ._images import ImageSource
from ._language import Proposal, RewriteOptions, RewrittenPrompt
from ._models import GeneratedImage, Job, Model, Params, Sampler

T = TypeVar("T")


class AsyncPhotogram:
    """`Photogram` for asyncio: the same methods, awaited.

        async with AsyncPhotogram() as client:
            image = await client.generate("a lighthouse at dusk", seed=7)

    A cancelled `generate` cancels its job before it lets the cancellation go on.
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

    async def generate(
        self,
        prompt: str | Proposal,
        *,
        timeout_s: float | None = None,
        on_event: Callable[[Event], None] | None = None,
        **params: Unpack[Params],
    ) -> GeneratedImage:
        """Draw one image and bring it here, as `Photogram.generate` does; `on_event` is a plain function."""
        kind, order = order_of(prompt, None, params)
        return await self._run(self._flows.generate(kind, timeout_s, on_event, order))

    async def upscale(
        self,
        image: ImageSource,
        *,
        scale: int | None = None,
        upscaler: str | None = None,
        timeout_s: float | None = None,
        on_event: Callable[[Event], None] | None = None,
    ) -> GeneratedImage:
        """Enlarge an image and bring it here, as `Photogram.upscale` does."""
        params = {"image": image, "scale": scale, "upscaler": upscaler}
        return await self._run(self._flows.generate("upscale", timeout_s, on_event, params))

    async def submit(
        self, prompt: str | Proposal, *, kind: str | None = None, job_id: str | None = None, **params: Unpack[Params]
    ) -> Job:
        """Queue a job and return at once; an own `job_id` makes that repeatable, as in `Photogram.submit`."""
        kind, order = order_of(prompt, kind, params)
        return await self._run(self._flows.submit(kind, job_id, order))

    async def get(self, job_id: str) -> Job:
        """The job as it is now; raises NotFound."""
        return await self._run(self._flows.get(job_id))

    async def wait(self, job: Job | str, timeout_s: float | None = None) -> Job:
        """Wait until the job is finished, however it ended, and return it; raises WaitTimeout after `timeout_s`."""
        return await self._run(self._flows.wait(job_id_of(job), timeout_s))

    async def cancel(self, job: Job | str) -> Job:
        """Ask for the job's end; a running one may still be `running` in the answer. A finished one stays as it is."""
        return await self._run(self._flows.cancel(job_id_of(job)))

    async def download(self, job: Job | str, index: int = 0) -> GeneratedImage:
        """Bring an image of a succeeded job here; raises as `Photogram.download` does."""
        return await self._run(self._flows.download(job, index))

    async def stream(self, job: Job | str, timeout_s: float | None = None) -> AsyncGenerator[Event, None]:
        """The job's events, from its first to the status that ends it, as `Photogram.stream` gives them.

            async for event in client.stream(job):
                print(event)

        Leave the loop early only inside `contextlib.aclosing`, so that the connection is given back at once.
        """
        reading = self._flows.reading(await self.get(job) if isinstance(job, str) else job, timeout_s)
        async with aclosing(self._follow(reading)) as events:
            async for event in events:
                yield event

    async def rewrite(self, prompt: str, **options: Unpack[RewriteOptions]) -> RewrittenPrompt:
        """Have the server's language model write a prompt anew, as `Photogram.rewrite` does."""
        return await self._run(self._flows.rewrite({"prompt": prompt, **options}))

    def stream_rewrite(
        self, prompt: str, **options: Unpack[RewriteOptions]
    ) -> AsyncGenerator[str | RewrittenPrompt, None]:
        """The pieces of a rewrite and its result, as `Photogram.stream_rewrite` gives them; see `stream` on leaving."""
        return self._follow(self._flows.reading_rewrite({"prompt": prompt, **options}))

    async def assist(
        self,
        message: str,
        *,
        job: Job | Proposal | Mapping[str, object] | None = None,
        images: ImageSource | Sequence[ImageSource] = (),
    ) -> Proposal:
        """Have the server's language model turn a wish into a job, as `Photogram.assist` does."""
        return await self._run(self._flows.assist(message, job, images))

    async def models(self) -> list[Model]:
        """The models that can be asked for by name."""
        return await self._run(self._flows.models())

    async def samplers(self) -> list[Sampler]:
        """The samplers that can be asked for by name."""
        return await self._run(self._flows.samplers())

    async def close(self) -> None:
        """Close the connections; the client cannot be used afterwards."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _follow(self, reading: Reading[T]) -> AsyncGenerator[T, None]:
        while not reading.is_over:
            error: httpx.RequestError | APIError | None = None
            try:
                async with aclosing(await self._http.send(reading.request(), stream=True)) as response:
                    if not response.is_success:
                        await response.aread()
                    reading.check(response)
                    async for chunk in response.aiter_bytes():
                        for piece in reading.feed(chunk):
                            yield piece
                        if reading.is_over:
                            break
            except (httpx.RequestError, APIError) as caught:
                error = caught
            await asyncio.sleep(reading.pause_s(error))

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

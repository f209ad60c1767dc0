"""The blocking client: performs each effect of a flow in the calling thread."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
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


class Photogram:
    """A client of one Photogram server.

        with Photogram() as client:
            client.generate("a lighthouse at dusk", seed=7).save("lighthouse.png")

    `base_url` and `api_key` default to the environment's `PHOTOGRAM_URL` (else http://127.0.0.1:8000) and
    `PHOTOGRAM_API_KEY`. `timeout_s` bounds connecting and each silence of the server, not the drawing. Lost connections
    and the statuses 429, 502, 503 and 504 are tried again up to `max_retries` times, with growing pauses or after as
    many seconds as the server asked for; nothing that is sent twice is done twice. `transport` takes an httpx transport
    in place of the network. One client may serve many threads.

    Raises ValueError for settings that cannot work. Every method raises `PhotogramError` and its kin.
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

    def generate(
        self,
        prompt: str | Proposal,
        *,
        timeout_s: float | None = None,
        on_event: Callable[[Event], None] | None = None,
        **params: Unpack[Params],
    ) -> GeneratedImage:
        """Draw one image and bring it here.

            image = client.generate("a cat", num_inference_steps=20, width=512, height=512)
            image = client.generate("a cat in oil", image=Path("cat.png"), strength=0.6)
            image = client.generate("a hat", image=Path("cat.png"), mask=Path("head.png"))

        With an `image` the image is drawn over it, with a `mask` only where that is light: each a file, bytes, or a
        string that the server knows: a URL, `input:...` or `image:...`. A mask may also be a mapping of all its fields.
        With `enhance_prompt=True` the server's language model rewrites the prompt first, if it can; `image.job` tells
        both. A proposal of `assist` may stand in place of the prompt; `params` then change what it says.
        `on_event` is called with every event of the job while it is drawn. When this call ends before the job does -
        Ctrl-C, `timeout_s` seconds over, the connection gone - the job is canceled. Raises InvalidParams for bad
        parameters, JobFailed, JobCanceled, WaitTimeout.
        """
        kind, order = order_of(prompt, None, params)
        return self._run(self._flows.generate(kind, timeout_s, on_event, order))

    def upscale(
        self,
        image: ImageSource,
        *,
        scale: int | None = None,
        upscaler: str | None = None,
        timeout_s: float | None = None,
        on_event: Callable[[Event], None] | None = None,
    ) -> GeneratedImage:
        """Enlarge an image to `scale` (2 or 4) times its width and height, and bring it here.

            image = client.upscale(Path("cat.png"), scale=4)

        Ends and raises as `generate` does.
        """
        params = {"image": image, "scale": scale, "upscaler": upscaler}
        return self._run(self._flows.generate("upscale", timeout_s, on_event, params))

    def submit(
        self, prompt: str | Proposal, *, kind: str | None = None, job_id: str | None = None, **params: Unpack[Params]
    ) -> Job:
        """Queue a job and return at once; a `kind` that is left out goes by the images, as in `generate`.

        With a `job_id` of your own (1 to 64 letters, digits, `_`, `-`) submitting the same again, also from another
        process, gives the same job; submitting something else under it raises Conflict.
        """
        kind, order = order_of(prompt, kind, params)
        return self._run(self._flows.submit(kind, job_id, order))

    def get(self, job_id: str) -> Job:
        """The job as it is now; raises NotFound."""
        return self._run(self._flows.get(job_id))

    def wait(self, job: Job | str, timeout_s: float | None = None) -> Job:
        """Block until the job is finished, however it ended, and return it; raises WaitTimeout after `timeout_s`."""
        return self._run(self._flows.wait(job_id_of(job), timeout_s))

    def cancel(self, job: Job | str) -> Job:
        """Ask for the job's end; a running one may still be `running` in the answer. A finished one stays as it is."""
        return self._run(self._flows.cancel(job_id_of(job)))

    def download(self, job: Job | str, index: int = 0) -> GeneratedImage:
        """Bring an image of a succeeded job here.

        Raises JobFailed or JobCanceled for a job that has none, ValueError for one that is not finished.
        """
        return self._run(self._flows.download(job, index))

    def stream(self, job: Job | str, timeout_s: float | None = None) -> Iterator[Event]:
        """The job's events, from its first to the status that ends it.

            for event in client.stream(job):
                if isinstance(event, Progressed):
                    print(f"{event.step}/{event.steps}")

        A dropped connection is taken up where it broke off. Raises WaitTimeout after `timeout_s` seconds (noticed with
        the server's next word, 15 s later at most).
        """
        yield from self._follow(self._flows.reading(self.get(job) if isinstance(job, str) else job, timeout_s))

    def rewrite(self, prompt: str, **options: Unpack[RewriteOptions]) -> RewrittenPrompt:
        """Have the server's language model write a prompt anew, and draw nothing.

            client.rewrite("a fox", model="sdxl").revised_prompt

        It writes as suits the image model `model`, or by the `profile` named, and the same for the same `seed`; with
        `negative_prompt=True` it writes such a one too. Without a language model the prompt comes back as it is, and
        `.rewrite.reason` says why. Raises InvalidParams.
        """
        return self._run(self._flows.rewrite({"prompt": prompt, **options}))

    def stream_rewrite(self, prompt: str, **options: Unpack[RewriteOptions]) -> Iterator[str | RewrittenPrompt]:
        """As `rewrite`, in pieces of text while they are written, and the RewrittenPrompt last.

        The pieces are what the language model says; only the result tells whether that is used. Raises ConnectionFailed
        where the stream breaks off after its first piece.
        """
        return self._follow(self._flows.reading_rewrite({"prompt": prompt, **options}))

    def assist(
        self,
        message: str,
        *,
        job: Job | Proposal | Mapping[str, object] | None = None,
        images: ImageSource | Sequence[ImageSource] = (),
    ) -> Proposal:
        """Have the server's language model turn a wish into a job; `generate` and `submit` take what it proposes.

            proposal = client.assist("a postcard of a lighthouse, wide")
            client.generate(proposal).save("postcard.png")

        With a `job` (or a proposal, or a mapping with kind and params) the wish is to change that. `images` are one or
        more images to draw over, each as in `generate`. Raises NoProposal, LanguageUnavailable, InvalidParams.
        """
        return self._run(self._flows.assist(message, job, images))

    def models(self) -> list[Model]:
        """The models that can be asked for by name."""
        return self._run(self._flows.models())

    def samplers(self) -> list[Sampler]:
        """The samplers that can be asked for by name."""
        return self._run(self._flows.samplers())

    def close(self) -> None:
        """Close the connections; the client cannot be used afterwards."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _follow(self, reading: Reading[T]) -> Iterator[T]:
        while not reading.is_over:
            error: httpx.RequestError | APIError | None = None
            try:
                with closing(self._http.send(reading.request(), stream=True)) as response:
                    if not response.is_success:
                        response.read()
                    reading.check(response)
                    for chunk in response.iter_bytes():
                        yield from reading.feed(chunk)
                        if reading.is_over:
                            break
            except (httpx.RequestError, APIError) as caught:
                error = caught
            time.sleep(reading.pause_s(error))

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

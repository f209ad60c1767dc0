"""Performs the effects of flows: the only place of a client that sends requests and sleeps."""

import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import TypeVar

import httpx2

from ._async_waiting import shield, sleep
from ._errors import APIError, ClientClosed, PhotogramError
from ._events import Event, StreamReader
from ._flows import Effect, Flow, Flows, Listen, Send, Sleep
from ._log import logger
from ._models import Job, Payload
from ._requests import REQUEST_ID

T = TypeVar("T")


class AsyncPerformer:
    """Performs flows with an HTTP client, which it closes only if it owns it."""

    def __init__(self, flows: Flows, http: httpx2.AsyncClient, *, owns_http: bool) -> None:
        self.flows, self.http, self._owns_http = flows, http, owns_http
        self._is_closed = False

    async def close(self) -> None:
        self._is_closed = True
        if self._owns_http:
            await self.http.aclose()

    async def run(self, flow: Flow[T]) -> T:
        """Perform the effects of `flow`, and return its result; its errors name the last request."""
        sent: httpx2.Request | None = None
        try:
            effect = next(flow)
            while True:
                sent = effect.request if isinstance(effect, Send) else sent
                try:
                    answer = await self._perform(effect)
                except BaseException as error:
                    effect = flow.throw(error)
                else:
                    effect = flow.send(answer)
        except StopIteration as done:
            result: T = done.value
            return result
        except PhotogramError as error:
            raise _named(error, sent) from error.__cause__

    async def pages(
        self, name: str, entry: Callable[[Payload], T], filters: Mapping[str, object]
    ) -> AsyncGenerator[T, None]:
        """Every entry of a list; each page is fetched when it is needed."""
        cursor: str | None = None
        while True:
            entries, cursor = await self.run(self.flows.page(name, entry, filters, cursor))
            for each in entries:
                yield each
            if cursor is None:
                return

    def watch(self, job: Job, timeout_s: float | None) -> AsyncGenerator[Event, None]:
        """The events of the job from the first on."""
        return self.follow(self.flows.event_reader(job, timeout_s))

    async def follow(self, reader: StreamReader[T]) -> AsyncGenerator[T, None]:
        """What `reader` reads, over as many connections as that takes."""
        request: httpx2.Request | None = None
        try:
            while not reader.is_over:
                failure: httpx2.RequestError | APIError | None = None
                request = reader.request()
                try:
                    async with aclosing(await self._send(request, is_stream=True)) as response:
                        if not response.is_success:
                            await response.aread()
                        reader.check(response)
                        async for chunk in response.aiter_bytes():
                            for piece in reader.feed(chunk):
                                yield piece
                            if reader.is_over:
                                break
                except (httpx2.RequestError, APIError) as caught:
                    failure = caught
                await sleep(reader.pause_s(failure))
        except PhotogramError as error:
            raise _named(error, request) from error.__cause__

    async def _perform(self, effect: Effect) -> httpx2.Response | None:
        match effect:
            case Send(request, is_shielded):
                sending = self._send(request)
                return await (shield(sending) if is_shielded else sending)
            case Sleep(seconds):
                await sleep(seconds)
            case Listen(job, on_event, timeout_s):
                async with aclosing(self.watch(job, timeout_s)) as events:
                    async for event in events:
                        on_event(event)
        return None

    async def _send(self, request: httpx2.Request, *, is_stream: bool = False) -> httpx2.Response:
        if self._is_closed or self.http.is_closed:
            raise ClientClosed("the client has been closed")
        began = time.monotonic()
        response = await self.http.send(request, follow_redirects=False, stream=is_stream)
        took_s, name = time.monotonic() - began, request.headers.get(REQUEST_ID)
        logger.debug(
            "%s %s %s in %.3f s, request %s", request.method, request.url.path, response.status_code, took_s, name
        )
        return response


def _named(error: PhotogramError, request: httpx2.Request | None) -> PhotogramError:
    """`error` with the id of the request that it followed."""
    if error.request_id is None and request is not None:
        error.request_id = request.headers.get(REQUEST_ID)
    return error

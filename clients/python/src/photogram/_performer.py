"""Performs the effects of flows: the only place of a client that sends requests and sleeps."""

import time
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from typing import TypeVar

import httpx2

from ._errors import APIError, ClientClosed, PhotogramError
from ._events import Event, StreamReader
from ._flows import Effect, Flow, Flows, Listen, Send, Sleep
from ._log import logger
from ._models import Job, Payload
from ._requests import REQUEST_ID
from ._waiting import shield, sleep

T = TypeVar("T")


class Performer:
    """Performs flows with an HTTP client, which it closes only if it owns it."""

    def __init__(self, flows: Flows, http: httpx2.Client, *, owns_http: bool) -> None:
        self.flows, self.http, self._owns_http = flows, http, owns_http
        self._is_closed = False

    def close(self) -> None:
        self._is_closed = True
        if self._owns_http:
            self.http.close()

    def run(self, flow: Flow[T]) -> T:
        """Perform the effects of `flow`, and return its result; its errors name the last request."""
        sent: httpx2.Request | None = None
        try:
            effect = next(flow)
            while True:
                sent = effect.request if isinstance(effect, Send) else sent
                try:
                    answer = self._perform(effect)
                except BaseException as error:
                    effect = flow.throw(error)
                else:
                    effect = flow.send(answer)
        except StopIteration as done:
            result: T = done.value
            return result
        except PhotogramError as error:
            raise _named(error, sent) from error.__cause__

    def pages(
        self, name: str, entry: Callable[[Payload], T], filters: Mapping[str, object]
    ) -> Generator[T, None, None]:
        """Every entry of a list; each page is fetched when it is needed."""
        cursor: str | None = None
        while True:
            entries, cursor = self.run(self.flows.page(name, entry, filters, cursor))
            yield from entries
            if cursor is None:
                return

    def watch(self, job: Job, timeout_s: float | None) -> Generator[Event, None, None]:
        """The events of the job from the first on."""
        return self.follow(self.flows.event_reader(job, timeout_s))

    def follow(self, reader: StreamReader[T]) -> Generator[T, None, None]:
        """What `reader` reads, over as many connections as that takes."""
        request: httpx2.Request | None = None
        try:
            while not reader.is_over:
                failure: httpx2.RequestError | APIError | None = None
                request = reader.request()
                try:
                    with closing(self._send(request, is_stream=True)) as response:
                        if not response.is_success:
                            response.read()
                        reader.check(response)
                        for chunk in response.iter_bytes():
                            yield from reader.feed(chunk)
                            if reader.is_over:
                                break
                except (httpx2.RequestError, APIError) as caught:
                    failure = caught
                sleep(reader.pause_s(failure))
        except PhotogramError as error:
            raise _named(error, request) from error.__cause__

    def _perform(self, effect: Effect) -> httpx2.Response | None:
        match effect:
            case Send(request, is_shielded):
                sending = self._send(request)
                return shield(sending) if is_shielded else sending
            case Sleep(seconds):
                sleep(seconds)
            case Listen(job, on_event, timeout_s):
                with closing(self.watch(job, timeout_s)) as events:
                    for event in events:
                        on_event(event)
        return None

    def _send(self, request: httpx2.Request, *, is_stream: bool = False) -> httpx2.Response:
        if self._is_closed or self.http.is_closed:
            raise ClientClosed("the client has been closed")
        began = time.monotonic()
        response = self.http.send(request, follow_redirects=False, stream=is_stream)
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

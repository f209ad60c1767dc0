"""Reads the stream of a prompt that is being rewritten: pieces of text, then the result."""

import json
from collections.abc import Iterator, Mapping

import httpx2

from ._errors import APIError
from ._events import check_stream
from ._language import RewrittenPrompt
from ._requests import Requests
from ._responses import read_event
from ._retry import Backoff, connection_failure
from ._sse import Frame, FrameDecoder


class RewriteReader:
    """Reads one rewrite; a stream that breaks after its first piece is not retried, since pieces would repeat."""

    def __init__(self, requests: Requests, backoff: Backoff, options: Mapping[str, object]) -> None:
        self.is_over = False
        self._request = requests.rewrite({**options, "stream": True})
        self._backoff = backoff
        self._decoder = FrameDecoder()
        self._attempt = 0
        self._has_begun = False

    def request(self) -> httpx2.Request:
        """The request, the same for each attempt."""
        self._decoder = FrameDecoder()
        return self._request

    def check(self, response: httpx2.Response) -> None:
        """Raise the error for an unsuccessful response, whose body must have been read."""
        check_stream(response)

    def feed(self, chunk: bytes) -> Iterator[str | RewrittenPrompt]:
        """The pieces that `chunk` completes; unknown events are ignored."""
        for frame in self._decoder.feed(chunk):
            piece = _piece_of(frame)
            if piece is not None:
                self._has_begun = True
                self.is_over = isinstance(piece, RewrittenPrompt)
                yield piece
                if self.is_over:
                    return

    def pause_s(self, error: httpx2.RequestError | APIError | None) -> float:
        """Seconds until the next attempt; raises if there is none."""
        if self.is_over:
            return 0.0
        failure = error if isinstance(error, APIError) else connection_failure(str(self._request.url), _cause(error))
        pause_s = None if self._has_begun else self._backoff.pause_s(failure, self._attempt)
        if pause_s is None:
            raise failure
        self._attempt += 1
        return pause_s


def _cause(error: httpx2.RequestError | None) -> httpx2.RequestError:
    return error or httpx2.RemoteProtocolError("the stream ended before the prompt was rewritten")


def _piece_of(frame: Frame) -> str | RewrittenPrompt | None:
    if frame.name == "delta":
        return read_event(lambda data: str(json.loads(data)["text"]), frame.data)
    if frame.name == "rewrite":
        return read_event(lambda data: RewrittenPrompt.from_payload(json.loads(data)), frame.data)
    return None

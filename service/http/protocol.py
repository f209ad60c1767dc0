"""Uvicorn's HTTP protocol with limits: deadlines for headers, responses and idle connections, and sizes of headers.

The deadlines of bodies that a route reads are in ``service.api.body_guard``, which can answer in the route's dialect.
"""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from service.backbone.addresses import plain_address
from service.http.refusals import Refusals
from service.http.registry import ConnectionRegistry

HEAD_MAX_BYTES = 1 << 16
"""The largest request line and headers together."""
HEADERS_MAX = 200
PIPELINE_MAX = 64
"""How many requests a client may send before it has the answer to the first one."""

_PROGRESS_BYTES = 1 << 16
"""How much a client must read within ``ConnectionLimits.write_s``."""


class _Refused(Exception):
    """Stops the parser within one of its callbacks."""


class GuardedProtocol(HttpToolsProtocol):
    """One connection. :func:`guarded_protocol` makes the class that uvicorn gets."""

    registry: ClassVar[ConnectionRegistry]
    refusals: ClassVar[Refusals]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.address = ""
        self._deadline_s: float | None = None
        """When the connection is closed unless what it waits for has come; a time of the event loop."""
        self._unwritable_since_s: float | None = None
        self._unread_bytes = 0
        self._open: list[RequestResponseCycle] = []
        """The requests that are being answered or wait for it; uvicorn knows only the last one."""
        self._is_in_head = False
        self._has_received = False
        self._head_bytes = 0
        self._framing_bytes = 0
        self._drained_bytes = 0
        self._is_refused = False
        self._refusal = HTTPStatus.BAD_REQUEST
        self._reason = "requests that are not HTTP"

    # What uvicorn and the event loop call

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.address = plain_address(self.client[0]) if self.client else ""
        self._await_request(self.registry.limits.header_s)
        if not self.registry.add(self):
            self.refusals.note("newcomers refused: too many connections are busy")
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE)
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.registry.remove(self)
        self._disconnect_requests()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_refused or self.transport.is_closing():
            return self._drain(len(data))
        self._has_received = True
        self._framing_bytes += len(data)
        super().data_received(data)
        if self._is_refused or self.transport.is_closing():
            return
        if self._framing_bytes > HEAD_MAX_BYTES:
            self._refuse(
                "requests with headers or chunks out of proportion", HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            )
        elif self._is_draining():
            self._drain(len(data))
        elif self._deadline_s is None and not self._open:
            self._await_request(self.registry.limits.header_s)

    def send_400_response(self, msg: str) -> None:
        """Called for what the parser refuses; answers with the status of the refusal."""
        if not self.transport.is_closing():
            self._refuse(self._reason, self._refusal)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._note_unread(self.loop.time())

    def resume_writing(self) -> None:
        super().resume_writing()
        self._unwritable_since_s = None

    # What the parser calls

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if len(self.pipeline) >= PIPELINE_MAX:
            self.refusals.note("connections closed: too many requests before an answer")
            self._abort()
            raise _Refused
        self._is_in_head, self._head_bytes, self._framing_bytes = True, 0, 0
        if self.cycle is not None and not self._open:
            self._await_request(self.registry.limits.header_s)

    def on_url(self, url: bytes) -> None:
        self._count_head(len(url), "requests with URLs that are too long", HTTPStatus.REQUEST_URI_TOO_LONG)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        self._count_head(len(name) + len(value) + 4, "requests with headers that are too large", status)
        super().on_header(name, value)
        if len(self.headers) > HEADERS_MAX:
            self._stop("requests with too many headers", status)

    def on_headers_complete(self) -> None:
        self._is_in_head, self._framing_bytes, self._deadline_s = False, 0, None
        self.registry.note_receiving(self)
        super().on_headers_complete()
        self._open.append(self.cycle)

    def on_body(self, body: bytes) -> None:
        # Chunks may have as many bytes of framing as of the body.
        self._framing_bytes = max(0, self._framing_bytes - 2 * len(body))
        super().on_body(body)

    def on_message_complete(self) -> None:
        was_draining = self._is_draining()
        super().on_message_complete()
        if not was_draining:
            self.registry.note_busy(self)
        else:
            self.cycle.more_body = False
            self._drained_bytes = 0
            self._await_request(self.registry.limits.keep_alive_s)

    def on_response_complete(self) -> None:
        del self._open[:1]
        super().on_response_complete()
        if self._open or self.transport.is_closing():
            return
        self.registry.note_waiting(self)
        if self.cycle.more_body:
            self._await_request(self.registry.limits.drain_s)
        elif self._is_in_head:
            self._await_request(self.registry.limits.header_s)

    # Limits

    def check(self, now_s: float) -> None:
        """Close the connection if one of its deadlines is over."""
        if self._is_unread(now_s):
            self.refusals.note("connections closed: the client did not read its response")
            self._abort()
        elif self._deadline_s is not None and now_s > self._deadline_s and not self.transport.is_closing():
            self._deadline_s = None
            if not self._is_refused and (self._is_in_head or not self._has_received):
                self._refuse("connections closed: no header in time", HTTPStatus.REQUEST_TIMEOUT)
            else:
                self._close()

    def _is_unread(self, now_s: float) -> bool:
        """Whether the client reads too slowly what is written."""
        if self._unwritable_since_s is None:
            if self.transport.is_closing():  # which waits until the client has read the rest
                self._note_unread(now_s)
            return False
        if self._unread_bytes - self.transport.get_write_buffer_size() >= _PROGRESS_BYTES:
            self._note_unread(now_s)
        return now_s - self._unwritable_since_s > self.registry.limits.write_s

    def _note_unread(self, now_s: float) -> None:
        self._unwritable_since_s, self._unread_bytes = now_s, self.transport.get_write_buffer_size()

    def close_idle(self) -> None:
        """Close the connection for a newcomer."""
        self.refusals.note("idle connections closed for newcomers")
        self._close()

    def _await_request(self, seconds: float) -> None:
        self._deadline_s = self.loop.time() + seconds

    def _is_draining(self) -> bool:
        """Whether the rest of a body arrives whose request was answered."""
        return self.cycle is not None and self.cycle.response_complete and self.cycle.more_body

    def _drain(self, count: int) -> None:
        self._drained_bytes += count
        if self._drained_bytes > self.registry.limits.drain_bytes and not self.transport.is_closing():
            self.refusals.note("connections closed: the body went on after the answer")
            self._abort()

    def _count_head(self, count: int, reason: str, status: HTTPStatus) -> None:
        self._head_bytes += count
        if self._head_bytes > HEAD_MAX_BYTES:
            self._stop(reason, status)

    def _stop(self, reason: str, status: HTTPStatus) -> None:
        """Make the parser fail, so that :meth:`send_400_response` is called."""
        self._reason, self._refusal = reason, status
        raise _Refused

    def _refuse(self, reason: str, status: HTTPStatus) -> None:
        self.refusals.note(reason)
        if not self._has_received or len(self._open) > 1 or any(each.response_started for each in self._open):
            return self._close()
        self._answer(status)
        if self._open:
            self._disconnect_requests()
            self.transport.close()
        else:  # an unread rest would make the client's system discard the answer
            self._is_refused, self._drained_bytes = True, 0
            self.transport.write_eof()
            self._await_request(self.registry.limits.drain_s)

    def _answer(self, status: HTTPStatus) -> None:
        """Write a response that needs no route: before the header is complete, the dialect is not known."""
        text = status.phrase.encode()
        head = b"HTTP/1.1 %d %s\r\ncontent-type: text/plain\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
        self.transport.write(head % (status, text, len(text)) + text)

    def _close(self) -> None:
        """Close at once: a client that reads nothing would keep a connection open whose buffer is not empty."""
        self._disconnect_requests()
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.transport.close()

    def _abort(self) -> None:
        self._disconnect_requests()
        self.transport.abort()

    def _disconnect_requests(self) -> None:
        """Tell the requests that their client is gone: uvicorn fails where they write to a closed connection."""
        for cycle in self._open:
            cycle.disconnected = True
            cycle.message_event.set()
        self._open.clear()


def guarded_protocol(registry: ConnectionRegistry) -> type[GuardedProtocol]:
    """The protocol class for the connections of one server, for uvicorn's option ``http``."""
    logging.getLogger("uvicorn.error").addFilter(_is_not_counted)

    class Protocol(GuardedProtocol):
        pass

    Protocol.registry, Protocol.refusals = registry, Refusals()
    return Protocol


def _is_not_counted(record: logging.LogRecord) -> bool:
    """False for what uvicorn logs once for each bad request, and ``Refusals`` counts or nobody needs to know."""
    return not str(record.msg).startswith(("Invalid HTTP request", "Unsupported upgrade", "No supported WebSocket"))

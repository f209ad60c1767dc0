"""The limits on bodies while they arrive: their size, their speed, and the memory of all of them together."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from models.media.pixel_budget import give_memory_back_soon
from service.api.bodies import declared_bytes, refuse_declared, too_large
from service.api.errors import ApiError, ErrorCode, unavailable

FREE_BYTES = 1 << 16
"""The part of each body that the budget does not count, so that large bodies never exclude small ones."""
LOWEST_BYTES_PER_S = 1024
LARGE_BYTES = 1 << 22
"""After a body of at least this size, memory is given back to the system: it was copied several times on the way."""


class BodyBudget:
    """Counts the bytes of all bodies that are received or processed at the moment.

    Args:
        max_bytes: how many bytes they may have together, without the first :data:`FREE_BYTES` of each.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.used_bytes = 0

    def take(self, count: int) -> None:
        """Count ``count`` bytes; raises :class:`ApiError` (503) if there is no room for them."""
        self.require_room(count)
        self.used_bytes += count

    def require_room(self, count: int) -> None:
        """Raise :class:`ApiError` (503) unless there is room for ``count`` bytes."""
        if self.used_bytes + count > self._max_bytes:
            detail = "the server has no memory left for bodies of this size; try again soon"
            raise unavailable(ErrorCode.OVERLOADED, detail)

    def release(self, count: int) -> None:
        """Forget ``count`` bytes that were taken."""
        self.used_bytes -= count


@dataclass(frozen=True, kw_only=True)
class BodyLimits:
    """The limits of one server."""

    max_bytes: int
    """The largest body of any route."""
    timeout_s: float
    """How long a body may pause, and how long it may be slower than :data:`LOWEST_BYTES_PER_S`."""


class BodyGuard:
    """Middleware that refuses bodies beyond ``limits`` and ``budget``, by ``Content-Length`` and as they arrive.

    Compressed bodies are refused too, because their size is not known before they are decompressed.
    """

    def __init__(self, app: ASGIApp, limits: BodyLimits, budget: BodyBudget) -> None:
        self._app, self._limits, self._budget = app, limits, budget

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        headers = Headers(scope=scope)
        _refuse_compressed(headers)
        refuse_declared(headers, self._limits.max_bytes)
        if (expected := declared_bytes(headers) - FREE_BYTES) > 0:
            self._budget.require_room(expected)
        body = _ArrivingBody(receive, send, self._limits, self._budget)
        try:
            await self._app(scope, body.receive, body.send)
        finally:
            body.release()


def _refuse_compressed(headers: Headers) -> None:
    if headers.get("content-encoding", "").strip().lower() not in ("", "identity"):
        message = "compressed bodies are not accepted: send the body without Content-Encoding"
        raise ApiError(ErrorCode.UNSUPPORTED_MEDIA_TYPE, message)


class _ArrivingBody:
    """One body. What arrives after the response has begun is not checked, because no route uses it."""

    def __init__(self, receive: Receive, send: Send, limits: BodyLimits, budget: BodyBudget) -> None:
        self._receive, self._send = receive, send
        self._limits, self._budget = limits, budget
        self._loop = asyncio.get_running_loop()
        self._began_s = self._loop.time()
        self._received_bytes = self._taken_bytes = 0
        self._is_over = False

    async def send(self, message: Message) -> None:
        self._is_over = True
        await self._send(message)

    async def receive(self) -> Message:
        if self._is_over:
            return await self._receive()
        try:
            async with asyncio.timeout(self._limits.timeout_s):
                message = await self._receive()
        except TimeoutError as error:
            raise self._too_slow() from error
        self._count(len(message.get("body", b"")))
        self._is_over = not message.get("more_body", False)
        if not self._is_over:
            self._require_pace()
        return message

    def _count(self, count: int) -> None:
        self._received_bytes += count
        if self._received_bytes > self._limits.max_bytes:
            raise too_large(self._limits.max_bytes)
        further = self._received_bytes - FREE_BYTES - self._taken_bytes
        if further > 0:
            self._budget.take(further)
            self._taken_bytes += further

    def _require_pace(self) -> None:
        counted_s = self._loop.time() - self._began_s - self._limits.timeout_s
        if self._received_bytes < counted_s * LOWEST_BYTES_PER_S:
            raise self._too_slow()

    def _too_slow(self) -> ApiError:
        return ApiError(
            ErrorCode.REQUEST_TIMEOUT,
            f"the body arrives too slowly: it may pause for {self._limits.timeout_s:g} s, and must have "
            f"{LOWEST_BYTES_PER_S} bytes a second",
        )

    def release(self) -> None:
        self._budget.release(self._taken_bytes)
        if self._taken_bytes >= LARGE_BYTES:
            give_memory_back_soon()
        self._taken_bytes = 0

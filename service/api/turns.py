"""Requests begin in turn: a few in each pass of the event loop, so that health checks are answered between them."""

from __future__ import annotations

import asyncio
from collections import deque

from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.health import PROBES

PER_PASS = 8
"""How many requests begin in one pass of the event loop; each takes up to a millisecond before it first waits."""


class Turns:
    """Lets requests begin in the order of their arrival, at most ``PER_PASS`` in each pass of the event loop.

    The loop runs everything that is ready before it looks for new data, so a thousand requests that arrive at once
    would keep a health check waiting until the last of them is answered. Health checks begin at once. This needs
    ``service.http.accepting``: where the loop accepts one connection in each pass, requests never arrive at once.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._begun = 0
        """How many requests have begun in this pass."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in PROBES:
            await self._turn()
        await self._app(scope, receive, send)

    async def _turn(self) -> None:
        """Return when the request may begin."""
        loop = asyncio.get_running_loop()
        if self._begun == 0:
            loop.call_soon(self._next_pass)
        if self._begun < PER_PASS:
            self._begun += 1
            return
        turn: asyncio.Future[None] = loop.create_future()
        self._waiting.append(turn)
        await turn

    def _next_pass(self) -> None:
        self._begun = 0
        while self._waiting and self._begun < PER_PASS:
            turn = self._waiting.popleft()
            if not turn.done():  # its request was cancelled
                turn.set_result(None)
                self._begun += 1
        if self._begun:
            asyncio.get_running_loop().call_soon(self._next_pass)

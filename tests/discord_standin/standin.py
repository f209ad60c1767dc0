"""The stand-in itself: one server on the loopback, to which discord.py is directed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Self

import yarl
from aiohttp import web
from discord.gateway import DiscordWebSocket
from discord.http import Route

from .gateway import Gateway
from .page import page
from .people import Person
from .rest import Rest
from .state import World


class DiscordStandIn:
    """Discord on a port of the loopback, for clients in this process, while its context is open."""

    def __init__(self, token: str = "a-token-for-tests") -> None:
        self.token = token
        self.world = World()
        self.gateway = Gateway(self.world, token)
        self.rest = Rest(self.world, token)

    async def __aenter__(self) -> Self:
        app = self.rest.application()
        app.router.add_get("/gateway/", self.gateway.handle)
        app.router.add_get("/channels/{channel}", self._page)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = self._runner.addresses[0][1]
        self.url = self.rest.base_url = f"http://127.0.0.1:{port}"
        self.gateway.url = f"ws://127.0.0.1:{port}/gateway/"
        self._before = Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY
        Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY = f"{self.url}/api", yarl.URL(self.gateway.url)
        return self

    async def __aexit__(self, *error: object) -> None:
        Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY = self._before
        await self.gateway.close()
        await self._runner.cleanup()

    def person(self, name: str, channel: int | None = None, *, is_manager: bool = False) -> Person:
        """Someone in `channel`, or in the guild's general channel."""
        return Person(self, name, self.world.general if channel is None else channel, is_manager=is_manager)

    def person_in_private(self, name: str) -> Person:
        """Someone who talks with the bot in private."""
        return Person(self, name, None)

    def pass_time(self, seconds: float = 16 * 60) -> None:
        """Let time pass for the tokens of all interactions; the default ends them."""
        self.world.passed_s += seconds

    async def until_ready(self) -> None:
        await asyncio.wait_for(self.gateway.ready.wait(), 10)

    async def until(self, condition: Callable[[], object], timeout_s: float = 20.0) -> None:
        """Wait until `condition` holds; raises AssertionError after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, "what the test waits for did not happen"
            await asyncio.sleep(0.01)

    async def _page(self, request: web.Request) -> web.Response:
        return web.Response(text=page(self.world, int(request.match_info["channel"])), content_type="text/html")

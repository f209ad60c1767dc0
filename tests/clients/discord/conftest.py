"""The bot between the stand-in of Discord and the small server of the client's tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from photogram_discord import Config, PhotogramBot

from tests.clients.wire_server import KEY, WireServer
from tests.discord_standin import DiscordStandIn


class BotRig:
    """Starts and stops the bot, with the same database each time."""

    def __init__(self, discord: DiscordStandIn, url: str, data: Path, api_key: str = KEY) -> None:
        self.discord = discord
        self.settings: dict[str, Any] = {"token": discord.token, "url": url, "api_key": api_key, "data": data}
        self._running: tuple[PhotogramBot, asyncio.Task[None]] | None = None

    async def start(self, **settings: Any) -> PhotogramBot:
        bot = PhotogramBot(Config(**self.settings | settings))
        running = asyncio.create_task(bot.start(self.discord.token))
        self._running = bot, running
        await self.discord.until(lambda: running.done() or self.discord.gateway.ready.is_set())
        return bot

    async def stop(self) -> None:
        if self._running is not None:
            bot, task = self._running
            await bot.close()
            await task
            self._running = None


@pytest.fixture
async def discord() -> AsyncIterator[DiscordStandIn]:
    async with DiscordStandIn() as standin:
        yield standin


@pytest.fixture
async def rig(discord: DiscordStandIn, server: WireServer, tmp_path: Path) -> AsyncIterator[BotRig]:
    rig = BotRig(discord, server.url, tmp_path / "bot")
    yield rig
    await rig.stop()


@pytest.fixture
async def bot(rig: BotRig) -> PhotogramBot:
    return await rig.start()

"""The names that autocomplete offers, from the listings of the server, each kept for a minute."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from discord import app_commands
from photogram import AsyncPhotogram, PhotogramError

KEPT_S = 60.0
TIMEOUT_S = 2.0
"""Discord gives three seconds for the choices."""
MAX_CHOICES, NAME_MAX_CHARS = 25, 100
"""Discord's limits."""
SIZES = ("1:1", "3:2", "2:3", "4:3", "3:4", "16:9", "9:16")

_READERS: dict[str, Callable[[AsyncPhotogram], Awaitable[Sequence[Any]]]] = {
    "model": AsyncPhotogram.models,
    "sampler": AsyncPhotogram.samplers,
    "style": AsyncPhotogram.styles,
    "lora": AsyncPhotogram.loras,
    "upscaler": AsyncPhotogram.upscalers,
}


class Listings:
    def __init__(self) -> None:
        self._kept: dict[tuple[AsyncPhotogram, str], tuple[float, asyncio.Task[list[str]]]] = {}

    async def choices(self, client: AsyncPhotogram, option: str, typed: str) -> list[app_commands.Choice[str]]:
        """Names for the option `option` that contain what was typed; none if the server does not answer in time.

        What the server answers too late is offered to the next one who types.
        """
        try:
            names = await asyncio.wait_for(asyncio.shield(self._reading(client, option)), TIMEOUT_S)
        except (PhotogramError, TimeoutError):
            return []
        found = [name for name in names if typed.lower() in name.lower()]
        return [app_commands.Choice(name=name, value=name) for name in found if len(name) <= NAME_MAX_CHARS][
            :MAX_CHOICES
        ]

    async def close(self) -> None:
        tasks = [task for _, task in self._kept.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _reading(self, client: AsyncPhotogram, option: str) -> asyncio.Task[list[str]]:
        """The one reading of the listing for all who type within `KEPT_S`; one that failed is not kept."""
        began_at, task = self._kept.get((client, option), (0.0, None))
        has_failed = task is not None and task.done() and (task.cancelled() or task.exception() is not None)
        if task is None or has_failed or time.monotonic() - began_at >= KEPT_S:
            task = asyncio.create_task(_names(client, option))
            self._kept[client, option] = time.monotonic(), task
        return task


async def _names(client: AsyncPhotogram, option: str) -> list[str]:
    entries = await _READERS[option](client)
    return [entry.name for entry in entries if getattr(entry, "problem", None) is None]

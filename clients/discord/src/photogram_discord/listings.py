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
MAX_CHOICES = 25
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
        self._kept: dict[tuple[AsyncPhotogram, str], tuple[float, list[str]]] = {}

    async def choices(self, client: AsyncPhotogram, option: str, typed: str) -> list[app_commands.Choice[str]]:
        """Names for the option `option` that contain what was typed; none if the server does not answer in time."""
        try:
            names = await asyncio.wait_for(self._names(client, option), TIMEOUT_S)
        except (PhotogramError, TimeoutError):
            return []
        found = [name for name in names if typed.lower() in name.lower()]
        return [app_commands.Choice(name=name[:100], value=name) for name in found[:MAX_CHOICES] if len(name) <= 100]

    async def _names(self, client: AsyncPhotogram, option: str) -> list[str]:
        read_at, names = self._kept.get((client, option), (-KEPT_S, []))
        if time.monotonic() - read_at >= KEPT_S:
            entries = await _READERS[option](client)
            names = [entry.name for entry in entries if getattr(entry, "problem", None) is None]
            self._kept[client, option] = time.monotonic(), names
        return names

"""Work on the pixels of images in the gateway: within a budget of pixels, in few threads of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from io import BytesIO
from typing import TypeVar

from anyio import CapacityLimiter, to_thread

from models.jobs.cost import area
from models.media.images import header_size
from models.media.pixel_budget import LARGE_PX, PixelBudget, give_memory_back
from service.api.formats import PNG, QUALITY, ImageFormat, convert

THREADS = 2
_POLL_S = 0.02

T = TypeVar("T")


class Decoding:
    """Runs all work in the gateway that decodes or encodes pixels; calls wait for each other, and hold up nobody else.

    Args:
        limit_px: how many pixels may be decoded at the same time; a larger image is decoded alone.
    """

    def __init__(self, limit_px: int) -> None:
        self._budget, self._threads = PixelBudget(limit_px), CapacityLimiter(THREADS)

    async def run(self, px: int, work: Callable[[], T]) -> T:
        """What ``work``, which decodes ``px`` pixels, returns; it is called in a thread."""
        lease = self._budget.request(px)
        try:
            while not lease.try_start():
                await asyncio.sleep(_POLL_S)
            return await to_thread.run_sync(partial(_run, work, px), limiter=self._threads)
        finally:
            lease.release()

    async def convert(
        self, png: bytes, target: ImageFormat, *, quality: int = QUALITY, is_progressive: bool = False
    ) -> bytes:
        """As :func:`~service.api.formats.convert`."""
        if target is PNG:
            return png
        work = partial(convert, png, target, quality=quality, is_progressive=is_progressive)
        return await self.run(header_px(png), work)


def _run(work: Callable[[], T], px: int) -> T:
    """Call ``work`` and give its memory back before the next call begins: each thread has an own reserve in glibc."""
    try:
        return work()
    finally:
        if px >= LARGE_PX:
            give_memory_back()


def header_px(image: bytes) -> int:
    """How many pixels the image in ``image`` has, as its header says; 0 if it has none that can be read."""
    return area(header_size(BytesIO(image)) or (0, 0))

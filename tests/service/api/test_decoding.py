"""Pixels are decoded in the gateway within a budget, and nobody who decodes none waits for it."""

from __future__ import annotations

import asyncio
import threading
from io import BytesIO

import pytest
from PIL import Image

from service.api.decoding import Decoding, header_px
from service.api.formats import JPEG, PNG


def png(size: tuple[int, int]) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", size).save(buffer, "PNG")
    return buffer.getvalue()


async def begun(event: threading.Event) -> None:
    assert await asyncio.to_thread(event.wait, 10)


async def test_what_does_not_fit_waits_and_small_work_goes_on() -> None:
    decoding, started, released = Decoding(1000), threading.Event(), threading.Event()

    def hold() -> str:
        started.set()
        assert released.wait(10)
        return "held"

    first = asyncio.create_task(decoding.run(900, hold))
    await begun(started)
    second = asyncio.create_task(decoding.run(800, lambda: "second"))
    assert await decoding.run(1, lambda: "small") == "small"
    assert not second.done()
    released.set()
    assert [await first, await second] == ["held", "second"]


async def test_who_goes_away_or_fails_holds_nothing() -> None:
    decoding, started, released = Decoding(1000), threading.Event(), threading.Event()
    first = asyncio.create_task(decoding.run(1000, lambda: (started.set(), released.wait(10))))
    await begun(started)
    waiting = asyncio.create_task(decoding.run(1000, lambda: None))
    await asyncio.sleep(0)
    waiting.cancel()
    released.set()
    await first
    with pytest.raises(ZeroDivisionError):
        await decoding.run(1000, lambda: 1 / 0)
    assert await decoding.run(5000, lambda: "alone") == "alone"


async def test_formats_are_converted_within_the_budget() -> None:
    decoding, image = Decoding(10), png((8, 8))
    assert await decoding.convert(image, PNG) is image
    with Image.open(BytesIO(await decoding.convert(image, JPEG))) as converted:
        assert (converted.format, converted.size) == ("JPEG", (8, 8))
    assert (header_px(image), header_px(b"no image")) == (64, 0)

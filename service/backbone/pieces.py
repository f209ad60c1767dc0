"""Long work on the event loop in pieces, between which other requests have their turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TypeVar

PIECE = 16
"""How many items are handled in one pass of the event loop; each of a batch of jobs takes up to half a millisecond."""

_Item = TypeVar("_Item")
_Made = TypeVar("_Made")


async def made_in_pieces(make: Callable[[_Item], _Made], items: Iterable[_Item]) -> list[_Made]:
    """What ``make`` makes of each item, in their order; up to ``PIECE`` items are handled at once."""
    made: list[_Made] = []
    for item in items:
        if made and len(made) % PIECE == 0:
            await asyncio.sleep(0)
        made.append(make(item))
    return made

"""How a blocking client waits; `_async_waiting.py` has the same names for asyncio."""

from time import sleep
from typing import TypeVar

__all__ = ["shield", "sleep"]

T = TypeVar("T")


def shield(done: T) -> T:
    """Nothing can cancel what a blocking call has done."""
    return done

"""Waiting in tests for what other threads and processes do."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(happened: Callable[[], T], timeout_s: float = 90.0, said: Callable[[], str] = lambda: "") -> T:
    """What ``happened`` returns, once that is true; fails with ``said`` if that takes too long."""
    deadline = time.monotonic() + timeout_s
    while not (found := happened()):
        assert time.monotonic() < deadline, f"it did not happen. {said()}"
        time.sleep(0.01)
    return found

"""Imports of large packages, which stay until the process ends."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def lasting_imports() -> Iterator[None]:
    """Import what stays until the process ends: it is not searched for garbage, neither within the context nor later.

    The hundreds of thousands of objects that torch and diffusers are made of take a sixth of their import's time to
    search, again and again, and as long in every later search.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()

"""Imports of large packages, which stay until the process ends."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def lasting_imports() -> Iterator[None]:
    """Import what stays until the process ends: it is not searched for garbage, neither within the context nor later.

    torch and diffusers are made of hundreds of thousands of objects. To search these again and again is a sixth of the
    time of their import, and every later search would go through them, too.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()

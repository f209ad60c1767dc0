"""A job as a process of its own, from inside: its order comes on standard input, its events go to standard output.

The order is one line, each event one line of JSON. Whatever else prints goes to standard error. The process ends when
its standard input is closed, so that it never outlives the worker that started it; ``workers.processes`` is that side.
"""

from __future__ import annotations

import json
import math
import os
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

from models.errors import JobFailure

NICENESS = 10
"""Where this process shares a core with one that draws, it gets about a tenth of it."""

Tell = Callable[[Mapping[str, Any]], None]
"""Sends an event; numbers that JSON has not become ``None``."""


def run(work: Callable[[bytes, Tell], None], failure_of: Callable[[Exception], JobFailure | None]) -> int:
    """Call ``work`` with the order; the exit code.

    Args:
        failure_of: what the job fails with after an exception; ``None`` for what nobody foresaw, which is raised.
    """
    tell = _events_alone_on_standard_output()
    order = sys.stdin.buffer.readline()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.nice(NICENESS)
    try:
        work(order, tell)
    except Exception as error:
        failure = failure_of(error)
        if failure is None:
            raise
        tell({"event": "failed", "code": failure.code, "message": str(failure), "detail": failure.detail})
    return 0


def _events_alone_on_standard_output() -> Tell:
    """What writes events; libraries that print, also from C, write to standard error from now on.

    Only the end of the process closes the events, by which its worker knows that it has ended.
    """
    events = os.fdopen(os.dup(1), "w", encoding="utf-8", closefd=False)
    os.dup2(2, 1)

    def tell(document: Mapping[str, Any]) -> None:
        print(json.dumps(_plain(document), default=str), file=events, flush=True)

    return tell


def _end_with_parent() -> None:
    while os.read(0, 1 << 10):
        continue
    os._exit(1)


def _plain(value: Any) -> Any:
    """``value`` with ``None`` for numbers that JSON has not."""
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

"""A download with its progress on stderr: one line that is updated on a terminal, else a line every few seconds."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial

from models.catalog.catalog import ModelSpec
from models.downloads.progress import Progress
from models.downloads.space import in_words

_TERMINAL_PAUSE_S, _LOG_PAUSE_S = 0.2, 5.0
_SPEED_OVER_S = 10.0
"""The time over which the speed is measured."""


def download_shown(spec: ModelSpec) -> None:
    """Download ``spec`` unless it is on this machine, and show how far it is.

    Raises:
        DownloadFailed: the message says why, and what to do.
    """
    from models.downloads.download import download  # the hub's client: longer than --help may take

    show_download(spec.name, partial(download, spec))


def show_download(name: str, download: Callable[[Progress], None]) -> None:
    """Run ``download``, and show how far it is; raises what it raises."""
    progress, done = Progress(), threading.Event()
    shown = threading.Thread(target=_show, args=(name, progress, done), daemon=True)
    shown.start()
    try:
        download(progress)
    except KeyboardInterrupt:
        done.set()
        shown.join()
        advice = f"what was downloaded of {name} stays: the next photogram models add, or pull, goes on there"
        print(advice, file=sys.stderr)
        raise
    finally:
        done.set()
        shown.join()


def _show(name: str, progress: Progress, done: threading.Event) -> None:
    is_terminal, speed = sys.stderr.isatty(), Speed()
    pause_s = _TERMINAL_PAUSE_S if is_terminal else _LOG_PAUSE_S
    is_over = False
    while not is_over:
        is_over = done.wait(pause_s)
        if not progress.done_bytes:
            continue
        line = progress_line(name, progress, speed.of(progress.done_bytes, time.monotonic()))
        print(f"\r\x1b[K{line}" if is_terminal else line, end="" if is_terminal and not is_over else "\n",
              file=sys.stderr, flush=True)  # fmt: skip


class Speed:
    """The bytes per second of the last seconds."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def of(self, done_bytes: int, at_s: float) -> float | None:
        """The speed when so many bytes are done at the time ``at_s``; ``None`` if it cannot be told yet."""
        self._seen.append((at_s, done_bytes))
        while at_s - self._seen[0][0] > _SPEED_OVER_S and len(self._seen) > 2:
            self._seen.popleft()
        (first_s, first_bytes), passed_s = self._seen[0], at_s - self._seen[0][0]
        return (done_bytes - first_bytes) / passed_s if first_s < at_s and done_bytes > first_bytes else None


def progress_line(name: str, progress: Progress, speed: float | None) -> str:
    """As in ``sdxl: 1.2 GB of 6.9 GB (17 %), 45.1 MB/s, 2 min 7 s left``; what is unknown is left out."""
    return f"{name}: {bytes_in_words(progress.done_bytes, progress.total_bytes, speed)}"


def bytes_in_words(done_bytes: int, total_bytes: int | None, speed: float | None) -> str:
    """How far a download is, as in ``1.2 GB of 6.9 GB (17 %), 45.1 MB/s, 2 min 7 s left``."""
    parts = [in_words(done_bytes)]
    if total_bytes:
        parts = [f"{in_words(done_bytes)} of {in_words(total_bytes)} ({100 * done_bytes // total_bytes} %)"]
    if speed is not None:
        parts.append(f"{in_words(speed)}/s")
        if total_bytes is not None and done_bytes < total_bytes:
            minutes, seconds = divmod(round((total_bytes - done_bytes) / speed), 60)
            parts.append(f"{minutes} min {seconds} s left" if minutes else f"{seconds} s left")
    return ", ".join(parts)

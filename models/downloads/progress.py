"""How far a download is, for the threads that show it, and the request to stop it."""

from __future__ import annotations

import threading

from models.errors import DownloadFailed


class Progress:
    """The bytes of one model: one thread downloads and counts, any thread reads and cancels."""

    def __init__(self) -> None:
        self.done_bytes = 0
        """The bytes that are on the disk, those of an earlier attempt included."""
        self.total_bytes: int | None = None
        """The bytes in all; ``None`` while that is unknown."""
        self._is_canceled = threading.Event()

    def cancel(self) -> None:
        """Stop the download soon; what is on the disk stays, and the next attempt goes on from there."""
        self._is_canceled.set()

    def check(self) -> None:
        """Raise :class:`DownloadFailed` if the download was canceled; for the thread that downloads."""
        if self._is_canceled.is_set():
            raise DownloadFailed("the download was stopped; the next attempt goes on where it stopped")

    def pause(self, seconds: float) -> None:
        """Wait before another attempt; raises as :meth:`check` does."""
        self._is_canceled.wait(seconds)
        self.check()

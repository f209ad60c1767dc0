"""The log of refused connections: one line for many of them, because anybody can cause as many as they like."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter

SUMMARY_EVERY_S = 10.0

log = logging.getLogger(__name__)


class Refusals:
    """Counts refusals by their reason, and logs the counts at most once in :data:`SUMMARY_EVERY_S`."""

    def __init__(self, every_s: float = SUMMARY_EVERY_S) -> None:
        self._every_s = every_s
        self._counts: Counter[str] = Counter()
        self._is_due = False

    def note(self, reason: str) -> None:
        """Count one refusal; the first one after a while is logged within a second."""
        self._counts[reason] += 1
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_later(min(1.0, self._every_s), self._log)

    def _log(self) -> None:
        if not self._counts:
            self._is_due = False
            return
        log.warning("connections: %s", ", ".join(f"{count} {reason}" for reason, count in self._counts.items()))
        self._counts.clear()
        asyncio.get_running_loop().call_later(self._every_s, self._log)

"""The probe of the language engine for health checks."""

from __future__ import annotations

import asyncio
import time

from models.language.client import LanguageEngine

_PROBE_S = 1.0
_PROBE_VALID_S = 10.0


class LanguageProbe:
    """Whether the language engine answers, for one gateway process; asked at most once in ten seconds."""

    def __init__(self, engine: LanguageEngine) -> None:
        self._engine, self._lock = engine, asyncio.Lock()
        self._answers, self._valid_until = False, float("-inf")

    async def answers(self) -> bool:
        """What the last probe found, or a new one."""
        async with self._lock:
            if self._valid_until < time.monotonic():
                self._answers = await self._engine.is_answering(timeout_s=_PROBE_S)
                self._valid_until = time.monotonic() + _PROBE_VALID_S
        return self._answers

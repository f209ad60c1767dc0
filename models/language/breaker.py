"""The circuit breaker: an engine that keeps failing is left alone for a while, then tried again by one request."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from models.language.errors import EngineAway, EngineMisbehaved, EngineTimeout, EngineUnavailable

OPENS_AT = 12
"""Points without a success between them."""
AWAY_POINTS = 4
"""Of an engine that is away or late: three in a row open the breaker."""
MISBEHAVED_POINTS = 1
"""Of an answer that makes no sense. It is there, and the next prompt may suit it better: twelve in a row open."""
PAUSE_S, PAUSE_MAX_S = 5.0, 60.0
"""The first pause, and the longest; each that ends in another failure is twice as long as the one before."""


class CircuitBreaker:
    """Counts what :meth:`guard` sees; for use within one event loop.

    Closed, everything passes. Open, nothing does until the pause is over. Then a single request is let through: while
    it runs nothing else is, and what becomes of it closes the breaker or opens it for twice as long. An answer that
    makes no sense closes it too, since it shows that the engine is back. Of a request that was cancelled nothing is
    learned. An engine that nobody listens for costs no time and will be back as a new one: that closes the breaker, so
    that the first prompt after its start is rewritten.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._points = 0
        self._pause_s = PAUSE_S
        self._open_until: float | None = None
        self._is_probing = False

    @property
    def is_open(self) -> bool:
        """Whether a request would be turned away now."""
        return self._open_until is not None and (self._is_probing or self._clock() < self._open_until)

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Around one question to the engine.

        Raises:
            EngineUnavailable: the breaker is open; the engine was not asked.
        """
        if self.is_open:
            raise EngineUnavailable("the language engine failed too often a moment ago")
        is_probe = self._is_probing = self._open_until is not None
        try:
            yield
        except EngineAway:
            self._reset()
            raise
        except (EngineUnavailable, EngineTimeout):
            self._failed(AWAY_POINTS, is_probe)
            raise
        except EngineMisbehaved:
            self._misbehaved(is_probe)
            raise
        else:
            self._reset()
        finally:
            if is_probe:
                self._is_probing = False

    def _reset(self) -> None:
        self._points, self._pause_s, self._open_until = 0, PAUSE_S, None

    def _misbehaved(self, is_probe: bool) -> None:
        if is_probe:
            self._points, self._open_until = 0, None
        self._failed(MISBEHAVED_POINTS, False)

    def _failed(self, points: int, is_probe: bool) -> None:
        self._points += points
        if is_probe or (self._points >= OPENS_AT and self._open_until is None):
            self._open_until = self._clock() + self._pause_s
            self._pause_s = min(2 * self._pause_s, PAUSE_MAX_S)

"""A circuit breaker: after repeated failures requests fail at once, until one probe succeeds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from models.language.errors import EngineAway, EngineMisbehaved, EngineTimeout, EngineUnavailable

OPENS_AT = 12
"""The points of failures without a success in between that open the breaker."""
AWAY_POINTS = 4
"""For an engine that is unavailable or late: three failures in a row open the breaker."""
MISBEHAVED_POINTS = 1
"""For an invalid response: the engine works, and the next prompt may succeed, so it takes twelve in a row."""
PAUSE_S, PAUSE_MAX_S = 5.0, 60.0
"""The first and the longest pause; each failed probe doubles the pause."""


class CircuitBreaker:
    """Counts the failures inside :meth:`guard`; for use within one event loop.

    Closed: all requests pass. Open: none pass until the pause is over. Half-open: a single probe passes; its success
    closes the breaker, and its failure doubles the pause. An invalid response to the probe closes it too, since it
    shows that the engine is back. A cancelled probe changes nothing. A refused connection closes the breaker: it
    costs no time, and the first prompt after the engine's start should be rewritten.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._points = 0
        self._pause_s = PAUSE_S
        self._open_until: float | None = None
        self._is_probing = False

    @property
    def is_open(self) -> bool:
        """Whether a request would fail at once."""
        return self._open_until is not None and (self._is_probing or self._clock() < self._open_until)

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Wraps one request to the engine.

        Raises:
            EngineUnavailable: the breaker is open; the request must not be sent.
        """
        if self.is_open:
            raise EngineUnavailable("the language engine failed too often; the circuit breaker is open")
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

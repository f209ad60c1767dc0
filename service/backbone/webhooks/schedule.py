"""When a delivery that failed is tried again, and when it is given up."""

from __future__ import annotations

import random
from dataclasses import dataclass

from service.backbone.webhooks.events import Event

RETRY_AFTER_S = (5, 60, 300, 1_800, 2 * 3_600, 5 * 3_600, 10 * 3_600, 10 * 3_600)
"""The pause after each failed attempt: with the first one, nine attempts in 27.6 hours."""
_JITTER = 0.2
"""The pauses vary by this share, so that deliveries that failed together are not tried again together."""
WAIT_MAX_S = 6 * 3_600
"""The longest ``Retry-After`` that is followed."""
GIVE_UP_S = 3 * 24 * 3_600
"""A delivery that has waited so long, because its receiver was left alone, is given up without a further attempt."""
OFF_AFTER_S = 3 * 24 * 3_600
"""An endpoint that has failed for so long is switched off."""
GONE = 410


@dataclass(frozen=True)
class Verdict:
    """What becomes of a delivery after an attempt: ``delivered``, ``pending``, ``dead`` or ``dropped``."""

    outcome: str
    due: float
    """When it is tried again, in seconds since the epoch, if it is ``pending``."""


def verdict_of(event: Event, attempts: int, status: int | None, wait_s: float, now: float) -> Verdict:
    """What becomes of the delivery of ``event``.

    Args:
        attempts: how many were made, with this one.
        status: what the receiver answered; ``None`` if nothing.
        wait_s: for how long the receiver wants to be left alone.
    """
    if status is not None and 200 <= status < 300:
        return Verdict("delivered", now)
    if not event.is_retried:
        return Verdict("dropped", now)
    if status == GONE or attempts > len(RETRY_AFTER_S):
        return Verdict("dead", now)
    pause_s = RETRY_AFTER_S[attempts - 1] * random.uniform(1 - _JITTER, 1 + _JITTER)
    return Verdict("pending", now + max(pause_s, wait_s))

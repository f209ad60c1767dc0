"""Throttling of wrong API keys by address: a token bucket for each, in the memory of this process."""

from __future__ import annotations

import math
import time
from collections import OrderedDict

from service.backbone.addresses import plain_address, site_of

_ADDRESSES_MAX = 10_000
"""How many addresses are remembered; the one that was seen longest ago is forgotten first."""


class WrongKeys:
    """Counts wrong keys; correct ones are never counted, and work from every address.

    Args:
        per_minute: how many wrong keys an address may send in a minute; 0 is any number.
    """

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, host: str) -> int | None:
        """Count a wrong key of ``host``; returns ``None``, or in how many seconds the next one is answered with 401."""
        if self._per_minute == 0:
            return None
        address, now, rate = site_of(plain_address(host)), time.monotonic(), self._per_minute / 60
        left, seen_at = self._buckets.pop(address, (float(self._per_minute), now))
        left = min(self._per_minute, left + (now - seen_at) * rate)
        is_refused = left < 1
        self._buckets[address] = (left if is_refused else left - 1, now)
        if len(self._buckets) > _ADDRESSES_MAX:
            self._buckets.popitem(last=False)
        return math.ceil((1 - left) / rate) if is_refused else None

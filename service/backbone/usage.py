"""What API keys have used: jobs, their work and their outcomes, by day and month in UTC; the scripts write them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from redis import Redis

from service.backbone.allowances import STEP_PX_PER_UNIT
from service.backbone.keyspace import STORED_BYTES_KEY, owner_queued_key, owner_running_key, usage_key

_COUNTS = ("jobs", "succeeded", "failed", "canceled")


@dataclass(frozen=True)
class Periods:
    """The day and the month that a moment lies in, in UTC."""

    day: str
    """As in 2026-11-27."""
    month: str
    """As in 2026-11."""
    day_ends_s: float
    """The seconds until the day ends."""
    month_ends_s: float

    @classmethod
    def at(cls, now: float) -> Self:
        """The periods of ``now``, in seconds since the epoch."""
        moment = datetime.fromtimestamp(now, UTC)
        midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
        next_month = (midnight.replace(day=28) + timedelta(days=4)).replace(day=1)
        return cls(
            moment.strftime("%Y-%m-%d"),
            moment.strftime("%Y-%m"),
            (midnight + timedelta(days=1) - moment).total_seconds(),
            (next_month - moment).total_seconds(),
        )


@dataclass(frozen=True)
class Usage:
    """What a key used in one period."""

    period: str
    """A day (2026-11-27) or a month (2026-11)."""
    jobs: int
    """Jobs that were accepted."""
    units: float
    """Their cost in megapixel-steps, without jobs that were cancelled before they started."""
    succeeded: int
    failed: int
    canceled: int


@dataclass(frozen=True)
class KeyUsage:
    """What a key uses now, and what it used."""

    queued: int
    """Jobs that wait."""
    running: int
    days: Sequence[Usage]
    """The last days, the newest first."""
    month: Usage
    """The current month."""
    stored_bytes: int
    """Of the images and files of its jobs; conversions and uploads are not counted."""


def read_usage(connection: Redis, owner: str, now: float, days: int) -> KeyUsage:
    """The usage of ``owner`` in the current month and the last ``days`` days, today included."""
    periods = [Periods.at(now - 86400 * ago).day for ago in range(days)] + [Periods.at(now).month]
    with connection.pipeline() as pipeline:
        pipeline.scard(owner_queued_key(owner))
        pipeline.scard(owner_running_key(owner))
        pipeline.hget(STORED_BYTES_KEY, owner)
        for period in periods:
            pipeline.hgetall(usage_key(owner, period))
        queued, running, stored_bytes, *found = pipeline.execute()
    *of_days, month = (_usage(period, fields) for period, fields in zip(periods, found, strict=True))
    return KeyUsage(queued, running, of_days, month, int(stored_bytes or 0))


def _usage(period: str, fields: dict[bytes, Any]) -> Usage:
    counts = {name: int(fields.get(name.encode(), 0)) for name in _COUNTS}
    return Usage(period=period, units=int(fields.get(b"step_px", 0)) / STEP_PX_PER_UNIT, **counts)

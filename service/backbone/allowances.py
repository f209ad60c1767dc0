"""How much an API key may do: its limits, those that the server gives to every key, and the refusal of one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from models.errors import PhotogramError

STEP_PX_PER_UNIT = 1_000_000
"""A cost unit is one megapixel-step: a million pixels, counted once for each step (``Cost.step_px``)."""

_MAX, _BYTES_MAX = 10**12, 10**15

_TEXTS = {
    "requests_per_minute": "this API key may submit {high} times a minute",
    "max_in_flight": "this API key may have {high} jobs that have not ended",
    "max_queued": "this API key may have {high} jobs that wait",
    "units_per_day": "this API key may use {high} cost units a day (UTC)",
    "units_per_month": "this API key may use {high} cost units a month (UTC)",
    "stored_bytes": "this API key may have {high} bytes of images and files stored",
}


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """The limits of one API key: 0 is no limit, ``None`` is what the server gives to every key."""

    requests_per_minute: int | None = None
    """Requests that submit jobs; reading is never limited."""
    max_in_flight: int | None = None
    """Jobs that have not ended."""
    max_queued: int | None = None
    """Jobs that wait."""
    units_per_day: int | None = None
    """Cost units of the jobs that are accepted in one day in UTC."""
    units_per_month: int | None = None
    """The same for one month."""
    stored_bytes: int | None = None
    """Bytes of the images and files of its jobs; a job is refused once there are so many."""

    def or_else(self, defaults: Allowance) -> Allowance:
        """These limits, and those of ``defaults`` where they are ``None``."""
        others = vars(defaults)
        return Allowance(**{name: others[name] if limit is None else limit for name, limit in vars(self).items()})

    @property
    def effective(self) -> dict[str, int]:
        """The limits that there are, by name."""
        return {name: limit for name, limit in vars(self).items() if limit}


def limit_max(name: str) -> int:
    """The highest value of a limit, a field of :class:`Allowance`; scripts of Redis count in floating point."""
    return _BYTES_MAX if name == "stored_bytes" else _MAX


@dataclass(frozen=True)
class Demand:
    """What accepting one job asks of the limits of its owner."""

    step_px: int = 0
    """The work of the job in pixels times steps."""
    room_jobs: int = 1
    """For how many jobs there must be room: more than one for the first job of a request for several images."""
    room_step_px: int | None = None
    """For how much work there must be room; ``None`` is ``step_px``."""
    requests: int = 1
    """0 for the further jobs of a request that was counted with its first."""

    def arguments(self, allowance: Allowance) -> dict[str, Any]:
        """What ``admit.lua`` is told."""
        limits: dict[str, int] = allowance.effective
        for name in ("units_per_day", "units_per_month"):
            if name in limits:
                limits[name] *= STEP_PX_PER_UNIT
        room = self.step_px if self.room_step_px is None else self.room_step_px
        return {**vars(self), **limits, "room_step_px": room}


@dataclass(frozen=True)
class Remainder:
    """What is left of one limit of a key after a job was accepted."""

    limit: str
    """Its name, a field of :class:`Allowance`."""
    high: int
    """The limit."""
    left: int
    whole_s: int
    """After how many seconds all of it is left again; 0 if nobody knows."""


NO_LIMITS = Allowance()
NO_DEMAND = Demand()


class LimitReached(PhotogramError):
    """A limit of the API key refuses a job.

    Args:
        limit: the name of the limit, a field of :class:`Allowance`.
        high: the limit.
        left: how much of it is left.
        wait_s: after how many seconds there is more; 0 if nobody knows.
    """

    def __init__(self, limit: str, high: int, left: int, wait_s: int) -> None:
        super().__init__(f"{_TEXTS[limit].format(high=high)}; {left} are left, and this request needs more")
        self.limit, self.high, self.left, self.wait_s = limit, high, left, wait_s

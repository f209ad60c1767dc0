"""Who submits and reads jobs: the identity that every operation of the job service takes."""

from __future__ import annotations

from dataclasses import dataclass

from models.jobs.cost import NO_LIMITS, CostLimits


@dataclass(frozen=True)
class Caller:
    """The holder of one API key, or a part of the server that acts for one."""

    key_id: str
    """The public id of the key (``service.backbone.keys.owner_id``); a job belongs to the key that submitted it."""
    limits: CostLimits = NO_LIMITS
    """What jobs of this caller may cost, beside the limits of the server, which hold for everybody."""

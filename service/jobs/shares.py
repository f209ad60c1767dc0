"""What part of a request for several jobs one job is: the first one needs room for all of them."""

from __future__ import annotations

from dataclasses import dataclass

from models.jobs.cost import Cost
from service.backbone.allowances import Demand


@dataclass(frozen=True, kw_only=True)
class Share:
    """One job among those of its request."""

    jobs: int = 1
    """For how many jobs there must be room."""
    equal_jobs: int = 1
    """How many jobs of this job's cost that are, as far as they are equal; their cost is checked together."""
    step_px: int | None = None
    """What all of the jobs cost in pixels times steps; ``None`` if they are equal."""
    requests: int = 1
    """0 for a job whose request was counted with an earlier job."""

    def demand(self, cost: Cost) -> Demand:
        """What a job of this cost asks of the limits of its owner."""
        room = cost.times(self.equal_jobs).step_px if self.step_px is None else self.step_px
        return Demand(cost.step_px, room_jobs=self.jobs, room_step_px=room, requests=self.requests)


ALONE = Share()
LATER = Share(requests=0)
"""A further job of a request whose first job has been accepted."""

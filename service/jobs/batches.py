"""Requests for many independent jobs, and what a job would be before it is submitted."""

from __future__ import annotations

from dataclasses import dataclass

from models.errors import PhotogramError
from models.jobs.cost import Cost
from models.jobs.options import JobOptions
from models.jobs.params import JobParams, JobRequest
from service.backbone.allowances import STEP_PX_PER_UNIT
from service.jobs.webhooks import JobWebhook

BATCH_MAX = 1000
"""The most jobs of one batch."""


@dataclass(frozen=True)
class BatchItem:
    """One job of a batch."""

    request: JobRequest
    options: JobOptions
    webhook: JobWebhook | None = None


@dataclass(frozen=True)
class Estimate:
    """What a request would become if it was submitted now."""

    params: JobParams
    """The effective parameters; a seed that the request leaves open is drawn, and another one is drawn for the job."""
    cost: Cost
    refusal: PhotogramError | None
    """Why the job would be refused although the request is valid: a limit, a full queue, or no room for results."""

    @property
    def units(self) -> float:
        """The cost in megapixel-steps, as usage counts it."""
        return self.cost.step_px / STEP_PX_PER_UNIT

"""The Prometheus metrics of this process: its registry, and what gateways and workers both count.

Names follow Prometheus' conventions: base units, ``_total`` for counters, no label whose values a client can invent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector

from service.backbone.allowances import STEP_PX_PER_UNIT

REGISTRY = CollectorRegistry()
"""The metrics of this process, a gateway or a worker."""
ProcessCollector(registry=REGISTRY)

WAIT_BUCKETS_S = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
"""For times that jobs take or wait: from a preview on a GPU to an hour behind a long queue."""
NONE = "none"
"""The label of what a job does not have, such as a model."""
OTHER = "other"
"""The label of all values beyond the first :data:`VALUES_MAX` of a label."""
VALUES_MAX = 200

JOBS_ACCEPTED = Counter(
    "photogram_jobs_accepted", "Jobs that were accepted into the queue.", ["kind", "model"], registry=REGISTRY
)
REFUSALS = Counter(
    "photogram_admission_refusals",
    "Jobs that a limit kept out of the queue: the name of a key's limit, or server_queue.",
    ["limit"],
    registry=REGISTRY,
)
SERVER_QUEUE = "server_queue"
JOBS_ENDED = Counter(
    "photogram_jobs_ended",
    "Jobs that ended, counted by the process that ended them.",
    ["kind", "model", "outcome", "error_code"],
    registry=REGISTRY,
)
QUEUE_SECONDS = Histogram(
    "photogram_job_queue_seconds",
    "Seconds from the acceptance of a job to its first start, observed at its end.",
    ["kind"],
    buckets=WAIT_BUCKETS_S,
    registry=REGISTRY,
)
RUN_SECONDS = Histogram(
    "photogram_job_run_seconds",
    "Seconds from the first start of a job to its end.",
    ["kind", "outcome"],
    buckets=WAIT_BUCKETS_S,
    registry=REGISTRY,
)
WORK_DONE = Counter(
    "photogram_job_work_units",
    "Work of the jobs that succeeded, in cost units: millions of pixels, each counted once for each step.",
    ["model"],
    registry=REGISTRY,
)


class Bounded:
    """A label's values: the first :data:`VALUES_MAX` as they are, all further ones as ``other``."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def __call__(self, value: object) -> str:
        """The value of the label for ``value``; what is no text, or empty, is ``none``."""
        if not isinstance(value, str) or not value:
            return NONE
        if value not in self._seen:
            if len(self._seen) >= VALUES_MAX:
                return OTHER
            self._seen.add(value)
        return value


bounded_model, bounded_code, bounded_kind = Bounded(), Bounded(), Bounded()
"""Models come from the catalog, which may change, and codes and kinds from modules that others write."""


def count_accepted(kind: str, model: str | None) -> None:
    """Count a job that was accepted."""
    JOBS_ACCEPTED.labels(bounded_kind(kind), bounded_model(model)).inc()


def count_end(job: Mapping[str, Any]) -> None:
    """Count a job that ended.

    Args:
        job: ``kind``, ``model``, ``outcome``, ``code``, ``queue_s``, ``run_s`` and ``step_px``; what is not known may
            be ``None``.
    """
    kind, model, outcome = bounded_kind(job["kind"]), bounded_model(job["model"]), bounded_code(job["outcome"])
    JOBS_ENDED.labels(kind, model, outcome, bounded_code(job["code"])).inc()
    if job["queue_s"] is not None:
        QUEUE_SECONDS.labels(kind).observe(job["queue_s"])
    if job["run_s"] is not None:
        RUN_SECONDS.labels(kind, outcome).observe(job["run_s"])
    if outcome == "succeeded" and job["step_px"] is not None:
        WORK_DONE.labels(model).inc(job["step_px"] / STEP_PX_PER_UNIT)

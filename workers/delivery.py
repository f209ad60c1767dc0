"""A delivery: one attempt of RQ to have a job done by this worker."""

from __future__ import annotations

from dataclasses import dataclass

from rq import Queue
from rq.executions import Execution
from rq.job import Job


@dataclass(frozen=True, eq=False)
class Delivery:
    """What RQ needs to settle or requeue the job; the id of the execution is the fencing token in the ledger."""

    job: Job
    queue: Queue
    execution: Execution

    @property
    def job_id(self) -> str:
        """The id of the job, which is the same in RQ and in the ledger."""
        return str(self.job.id)

    @property
    def execution_id(self) -> str:
        """A new id at every delivery of the same job."""
        return str(self.execution.id)

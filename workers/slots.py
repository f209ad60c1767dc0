"""A slot: one job that this worker has taken, from the queue to its end."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from PIL.Image import Image
from rq import Queue
from rq.executions import Execution
from rq.job import Job

from models.catalog.catalog import Catalog, ModelSpec
from models.jobs.records import JobRecord


@dataclass(eq=False)
class Slot:
    """A job in this worker's hands; ``execution.id`` fences everything that is written."""

    record: JobRecord
    catalog: Catalog
    """As it was when the job was taken."""
    spec: ModelSpec | None
    """The model that draws; ``None`` for kinds that no diffusion model draws."""
    job: Job
    queue: Queue
    execution: Execution
    crashes: int
    """How often the job ended a worker before."""
    taken_at: float = field(default_factory=time.monotonic)
    images: Mapping[str, Image] = field(default_factory=dict)
    """By source: what the job starts from, once it is loaded."""
    is_ending: bool = False
    """Whether the job's end is on its way to the ledger; only the drawing thread says so."""

    @property
    def job_id(self) -> str:
        """The job's id."""
        return self.record.job_id

    @property
    def row_id(self) -> str:
        """The execution's id, which is also the row's in the engine: a redelivered job is another row."""
        return str(self.execution.id)

    @property
    def is_suspect(self) -> bool:
        """Whether the job must run alone, so that its next crash names it and nobody else."""
        return self.crashes >= 2

    @property
    def held_s(self) -> float:
        """How long this worker has had the job."""
        return time.monotonic() - self.taken_at

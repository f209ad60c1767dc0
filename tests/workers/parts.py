"""The parts of a worker without its process, joined as workers/worker.py joins them."""

from __future__ import annotations

import queue
from collections.abc import Callable, Collection
from contextlib import nullcontext
from pathlib import Path

from redis import Redis

from models.catalog.catalog import Catalog
from models.jobs.kinds import DIFFUSION_QUEUE, job_kinds
from models.jobs.params import DrawRequest, JobRequest
from models.jobs.records import new_job_id
from models.jobs.tickets import open_ticket
from models.language.presets import GENERIC
from models.language.rewriting import Rewriter
from service.backbone.inputs import InputStore
from service.backbone.ledger import Ledger
from service.backbone.provenance import Signing
from service.backbone.settings import Settings
from service.backbone.store import ImageStore
from tests.intake import BlockingIntake
from workers.consumer import Consumer
from workers.executors import PREFETCH
from workers.fetching.gate import FetchGate
from workers.held_jobs import HeldJob, HeldJobs
from workers.images import ImageLoader
from workers.maintenance import Maintenance
from workers.marking import Marking
from workers.prepare import Prepare
from workers.rewriting import Rewriting
from workers.rq_adapter import RqAdapter
from workers.warm import WarmRouting, WorkerStatus

CATALOG = Catalog({})


class Parts:
    """Adapter, consumer and maintenance of one worker of the diffusion queue."""

    def __init__(self, redis: Redis, name: str = "one", loaded: Collection[str] = (), has_room: bool = True) -> None:
        self.redis, self.ledger, self.held = redis, Ledger(redis, 600), HeldJobs()
        self.adapter = RqAdapter(redis, name, DIFFUSION_QUEUE, self.held)
        routing = WarmRouting(redis, name, DIFFUSION_QUEUE, lambda: WorkerStatus(loaded, has_room))
        gate = FetchGate(redis, DIFFUSION_QUEUE)
        self.consumer = Consumer(self.adapter, self.ledger, self.held, job_kinds(), lambda: CATALOG, gate, routing)
        self.maintenance = Maintenance(redis, self.adapter, self.ledger, self.held, routing)

    def prepare(
        self, loader: ImageLoader, rewriting: Rewriting | None = None, room: Callable[[], int] = lambda: PREFETCH
    ) -> Prepare:
        """A first stage whose jobs an executor would take at once."""
        rewriting = rewriting or Rewriting(lambda: nullcontext(Rewriter(None, GENERIC)))  # without an engine
        return Prepare(self.consumer, loader, rewriting, room, queue.SimpleQueue())

    def cancel(self, job: HeldJob) -> None:
        """End a job as the loop does when it is canceled."""
        assert job.start_ending()
        self.consumer.cancel(job)


def marking(data: Path) -> Marking:
    """What marks the images of a worker whose data folder is ``data``."""
    settings = Settings(data=data)
    images, inputs = ImageStore(settings.images_folder), InputStore(settings.inputs_folder)
    return Marking(Signing(settings), images, inputs, settings.provenance)


def submit(redis: Redis, request: JobRequest | None = None, owner: str = "me") -> str:
    """Queue a job and return its id."""
    ticket = open_ticket(request or DrawRequest(prompt="x"), CATALOG, job_id=new_job_id(), owner=owner)
    BlockingIntake(redis, 1000).accept(ticket, {})
    return ticket.job_id

"""The RQ side of a worker: a BaseWorker that holds several executions at once.

RQ's own workers run one job at a time. This adapter takes a job from its one queue (:meth:`RqAdapter.pop`,
:meth:`RqAdapter.start`) and later settles or requeues it. To RQ every job that has ended, well or badly, is a success:
whether it failed is the ledger's business. The execution of a worker that dies, or that cannot write the end of a job,
expires, and RQ delivers the job again.
"""

from __future__ import annotations

from collections.abc import Collection

from redis import Redis
from rq.executions import Execution
from rq.job import Job, JobStatus
from rq.queue import Queue
from rq.registry import clean_registries
from rq.serializers import JSONSerializer
from rq.timeouts import BaseDeathPenalty
from rq.utils import now
from rq.worker import BaseWorker

from service.backbone.keyspace import CANCEL_CHANNEL
from service.backbone.queue import open_queue
from service.backbone.turns import Turns
from workers.delivery import Delivery
from workers.held_jobs import HeldJobs

EXECUTION_TTL_S = 7
"""An execution without a heartbeat for so long is given to another worker."""
_WORKER_TTL_S = 60


class NoDeathPenalty(BaseDeathPenalty):  # type: ignore[misc]
    """Sets no alarm: RQ's alarm serves one job at a time, and the loop checks the deadlines of all jobs."""

    def setup_death_penalty(self) -> None:
        """Set no alarm."""

    def cancel_death_penalty(self) -> None:
        """There is no alarm to cancel."""


class RqAdapter(BaseWorker):  # type: ignore[misc]
    """Takes, settles and requeues executions of one queue; its methods may be called from any thread."""

    death_penalty_class = NoDeathPenalty

    def __init__(self, connection: Redis, name: str, queue: str, held: HeldJobs) -> None:
        super().__init__(
            [open_queue(connection, queue)],
            name=name,
            connection=connection,
            serializer=JSONSerializer,
            worker_ttl=_WORKER_TTL_S,
        )
        self._held = held
        self._turns = Turns(connection, queue)

    @property
    def queue(self) -> Queue:
        """The queue that this worker serves."""
        return self.queues[0]

    def pop(self, timeout_s: float) -> str | None:
        """Move the next job id to the intermediate list, where a crash cannot lose it; ``None`` after ``timeout_s``."""
        return self._turns.take() or self._turns.wait(timeout_s)

    def pop_of_another(self, owners: Collection[str]) -> str | None:
        """As :meth:`pop`, if there is a job now and it belongs to none of ``owners``."""
        return self._turns.take(passed_over=owners)

    def start(self, job_id: str) -> Delivery | None:
        """Register an execution of a job in the intermediate list; ``None`` if RQ has no record of the job."""
        fetched: tuple[Job, Queue] | None = self.queue_class._fetch_dequeued_job(
            self.connection, self.queue.key, job_id, self.job_class, self.serializer, self.death_penalty_class
        )
        if fetched is None:
            self.queue.intermediate_queue.remove(job_id)
            return None
        job, queue = fetched
        execution: Execution = self.prepare_execution(job)
        self.prepare_job_execution(job, remove_from_intermediate_queue=True)
        job.started_at = now()
        return Delivery(job, queue, execution)

    def settle(self, delivery: Delivery) -> None:
        """Tell RQ that the job is done and must not be delivered again."""
        self._finalize_success(delivery.job, delivery.queue, delivery.execution, None)

    def requeue(self, delivery: Delivery) -> None:
        """Move the job back to the front of the queue."""
        with self.connection.pipeline() as transaction:
            self.cleanup_execution(delivery.job, pipeline=transaction, execution=delivery.execution)
            delivery.job.set_status(JobStatus.QUEUED, pipeline=transaction)
            delivery.queue.push_job_id(delivery.job_id, pipeline=transaction, at_front=True)
            transaction.execute()

    def release(self, delivery: Delivery) -> None:
        """Send no more heartbeats for the execution; unless it is settled, it expires and RQ delivers the job again."""
        self.executions.pop(delivery.execution_id, None)

    def keep_alive(self, delivery: Delivery) -> None:
        """Send the heartbeat of one execution."""
        self.maintain_heartbeats(delivery.job, delivery.execution)

    # What RQ calls

    def get_heartbeat_ttl(self, job: Job, working_time: float = 0.0) -> int:
        """How long an execution lives without a heartbeat, in seconds."""
        return EXECUTION_TTL_S

    def clean_registries(self) -> None:
        """Requeue the executions that have expired, without RQ's own lock, which is held for 15 minutes."""
        clean_registries(self.queue, self._exc_handlers)
        self.last_cleaned_at = now()

    def subscribe(self) -> None:
        """Listen to RQ's commands for this worker, and to Photogram's cancellations."""
        super().subscribe()
        self.pubsub.subscribe(
            **{CANCEL_CHANNEL: lambda message: self._held.request_cancel_of_job(message["data"].decode())}
        )

    def request_stop_execution(self, execution_id: str) -> None:
        """Cancel one execution, as RQ's ``stop-execution`` command asks."""
        self._held.request_cancel(execution_id)

"""The intake of jobs: one Redis script checks limits, writes the ticket to the ledger and enqueues it in RQ."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from rq import Queue, Retry
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer
from rq.utils import utcformat

from models.errors import PhotogramError
from models.jobs.kinds import DIFFUSION_QUEUE
from service.backbone import metrics, scripts
from service.backbone.admission import Accepted, AlreadyUsed, Entry, Offer, QueueFull, moment
from service.backbone.allowances import NO_LIMITS, Allowance, LimitReached
from service.backbone.connections import require_replicas
from service.backbone.keyspace import record_key
from service.backbone.pieces import made_in_pieces
from service.backbone.settings import Settings

TASK = "workers.tasks.draw"
"""The function that RQ believes it calls; Photogram's workers read the ledger instead."""
REDELIVERIES_MAX = 100
"""How often RQ may deliver a job again; the crash limit of the ledger ends it long before."""
RQ_TRACE_TTL_S = 60

_ASKED_AT_ONCE = 64
"""How many jobs of a batch that is no transaction Redis is asked about in one round trip."""


def open_queue(connection: Redis, name: str = DIFFUSION_QUEUE) -> Queue:
    """The RQ queue called ``name``, with the settings that gateway and workers must share."""
    return Queue(name, connection=connection, serializer=JSONSerializer, default_timeout=-1)


class Intake:
    """Accepts tickets, for one gateway process with one event loop."""

    def __init__(
        self,
        connection: AsyncRedis,
        max_queued: int,
        record_ttl_s: int = Settings.record_ttl_s,
        wait_replicas: int = Settings.redis_wait_replicas,
    ) -> None:
        self._connection = connection
        self._max_queued, self._wait_replicas = max_queued, wait_replicas
        self.record_ttl_s = record_ttl_s
        self._deliveries: dict[str, dict[str, Any]] = {}
        """By queue, RQ's record of a delivery, which is the same for all jobs but for its times."""
        self._admit = connection.register_script(scripts.admit())

    async def accept(self, entry: Entry, allowance: Allowance = NO_LIMITS) -> Accepted:
        """Enqueue a job in the queue of its kind, unless an equal request of the same owner did so before.

        One script checks everything and writes everything, so that limits are exact however many submit at once.

        Args:
            allowance: the limits of its owner.

        Raises:
            AlreadyUsed: the job id or the idempotency key belongs to another request, or the record of its request
                cannot be read.
            QueueFull: the queue holds ``max_queued`` jobs.
            LimitReached: the owner may not submit this job now.
        """
        offer = Offer.of(entry, allowance, moment(time.time()))
        accepted = self._accepted(offer, await self._ask(offer))
        await self._require_replicas(accepted)
        return accepted

    async def accept_all(self, entries: Sequence[Entry], allowance: Allowance = NO_LIMITS) -> list[Accepted]:
        """Enqueue all jobs of one owner, or none, in one transaction; raises as :meth:`accept`.

        The demand of the first entry needs room for all of them. Jobs of a batch have consecutive times, in its order.
        """
        now, leader = time.time(), record_key(entries[0].ticket.job_id)

        def offered(index: int) -> Offer:
            led = {"leader": leader} if index else {}
            return Offer.of(entries[index], allowance, moment(now, index), **led)

        offers = await made_in_pieces(offered, range(len(entries)))
        answers = await self._ask_all(offers, is_transaction=True)
        first = self._accepted(offers[0], answers[0])
        if any(answer[0] == b"skipped" for answer in answers):
            raise AlreadyUsed("the idempotency key belongs to another batch")
        others = zip(offers[1:], answers[1:], strict=True)
        accepted = [first, *await made_in_pieces(lambda each: self._accepted(*each), others)]
        await self._require_replicas(accepted[-1])
        return accepted

    async def accept_each(self, entries: Sequence[Entry], allowance: Allowance) -> list[Accepted | PhotogramError]:
        """Enqueue those jobs of one owner that may be; for each of the others the error that :meth:`accept` raises."""
        now = time.time()

        def offered(index: int) -> Offer:
            return Offer.of(entries[index], allowance, moment(now, index))

        found: list[Accepted | PhotogramError] = []
        for start in range(0, len(entries), _ASKED_AT_ONCE):
            offers = await made_in_pieces(offered, range(start, min(start + _ASKED_AT_ONCE, len(entries))))
            answers = await self._ask_all(offers, is_transaction=False)
            found += await made_in_pieces(lambda each: self._outcome(*each), zip(offers, answers, strict=True))
        if last := [each for each in found if isinstance(each, Accepted)][-1:]:
            await self._require_replicas(*last)
        return found

    def _outcome(self, offer: Offer, answer: Any) -> Accepted | PhotogramError:
        try:
            return self._accepted(offer, answer)
        except (AlreadyUsed, QueueFull, LimitReached) as error:
            return error

    async def try_out(self, entry: Entry, allowance: Allowance) -> QueueFull | LimitReached | None:
        """Why the job would be refused now; nothing is enqueued, but the request is counted.

        Raises:
            LimitReached: the owner has sent too many requests.
        """
        offer = Offer.of(entry, allowance, moment(time.time()), dry_run=True)
        refusal = offer.refusal(await self._ask(offer), self._max_queued)
        if isinstance(refusal, LimitReached) and refusal.limit == "requests_per_minute":
            metrics.REFUSALS.labels(refusal.limit).inc()
            raise refusal
        return refusal

    async def _require_replicas(self, last: Accepted) -> None:
        """Let jobs survive the loss of the primary, if the settings ask for that; raises :class:`RedisError`."""
        await require_replicas(self._connection, self._wait_replicas, record_key(last.record.job_id))

    async def _ask(self, offer: Offer) -> Any:
        return await self._admit(keys=offer.keys, args=self._arguments(offer))

    async def _ask_all(self, offers: Sequence[Offer], *, is_transaction: bool) -> list[Any]:
        async with self._connection.pipeline(transaction=is_transaction) as pipeline:
            arguments = await made_in_pieces(self._arguments, offers)
            for offer, args in zip(offers, arguments, strict=True):
                await self._admit(keys=offer.keys, args=args, client=pipeline)
            answers: list[Any] = await pipeline.execute()
        return answers

    def _arguments(self, offer: Offer) -> list[Any]:
        """The ARGV of the script; one of few parts costs less than the commands that write a job would."""
        record = self._delivery(offer.queue)
        delivery = [part for pair in record.items() if pair[0] != "data" for part in pair]
        told = {**offer.told, "queue_max": self._max_queued, "listed_s": self.record_ttl_s, "delivery": delivery}
        return [json.dumps(told), record["data"]]

    def _delivery(self, queue: str) -> dict[str, Any]:
        """RQ's record of the delivery of a job."""
        if queue not in self._deliveries:
            job = Job.create(
                TASK,
                connection=self._connection,
                serializer=JSONSerializer,
                origin=queue,
                timeout=-1,
                status=JobStatus.QUEUED,
                result_ttl=RQ_TRACE_TTL_S,
                failure_ttl=RQ_TRACE_TTL_S,
                retry=Retry(max=REDELIVERIES_MAX),
            )
            self._deliveries[queue] = job.to_dict()
        now = utcformat(datetime.now(UTC))
        return {**self._deliveries[queue], "created_at": now, "enqueued_at": now}

    def _accepted(self, offer: Offer, answer: Any) -> Accepted:
        """What the answer of ``admit.lua`` means; raises as :meth:`accept`."""
        refusal = offer.refusal(answer, self._max_queued)
        if refusal is not None:
            name = refusal.limit if isinstance(refusal, LimitReached) else metrics.SERVER_QUEUE
            metrics.REFUSALS.labels(name).inc()
            raise refusal
        accepted = offer.accepted(answer)
        if accepted.is_new:
            metrics.count_accepted(accepted.record.kind, accepted.record.params.model_name)
        return accepted

"""The metrics that all gateways share: queues, work that waits, and what the workers publish through Redis.

Every gateway shows the same, so one of them is asked: sums over several would count everything more than once.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from redis.asyncio import Redis

from models.jobs.kinds import job_kinds
from service.backbone.allowances import STEP_PX_PER_UNIT
from service.backbone.key_records import KeyRecord
from service.backbone.keyspace import (
    KEY_RECORDS_KEY,
    QUEUED_JOBS_KEY,
    QUEUED_WORK_KEY,
    pace_key,
    usage_key,
    webhook_dead_key,
    webhook_pending_key,
    worker_metrics_key,
)
from service.backbone.metrics import NONE
from service.backbone.places import model_pace_field
from service.backbone.queue_counts import QueueCount, Queues
from service.backbone.usage import Periods

WORKERS_MAX = 256
"""The most workers whose metrics are shown, which bounds what one scrape costs."""
KEYS_MAX = 1000
"""The most API keys whose usage is shown, and whose webhooks are counted."""


@dataclass(frozen=True)
class _Waiting:
    """The jobs of one kind and model that wait."""

    queue: str
    model: str
    jobs: int
    step_px: int


class ClusterMetrics:
    """Reads the shared metrics from Redis.

    Args:
        shows_keys: whether the usage of each API key is shown, by its id.
    """

    def __init__(self, connection: Redis, *, shows_keys: bool) -> None:
        self._connection, self._shows_keys = connection, shows_keys

    async def read(self) -> list[Metric]:
        """The metrics as they are now; raises :class:`~redis.exceptions.RedisError`."""
        counts = await Queues(self._connection).count(sorted({kind.queue for kind in job_kinds()}))
        names = [name for count in counts.values() for name in count.workers][:WORKERS_MAX]
        found = [*_queue_families(counts), *await self._waiting_work(), *await self._published(names)]
        found += await self._webhooks()
        return found + await self._key_usage() if self._shows_keys else found

    async def _waiting_work(self) -> Iterator[Metric]:
        async with self._connection.pipeline(transaction=False) as pipeline:
            for key in (QUEUED_JOBS_KEY, QUEUED_WORK_KEY):
                pipeline.hgetall(key)
            waiting = _summed(_waiting(*await pipeline.execute()))
        if not waiting:
            return _waiting_families(())
        async with self._connection.pipeline(transaction=False) as pipeline:
            for each in waiting:
                pipeline.hget(pace_key(each.queue), model_pace_field(each.model))
            paces = await pipeline.execute()
        return _waiting_families(zip(waiting, paces, strict=True))

    async def _published(self, names: Sequence[str]) -> Iterator[Metric]:
        texts: Any = await self._connection.mget([worker_metrics_key(name) for name in names]) if names else []
        return merged({name: json.loads(text) for name, text in zip(names, texts, strict=True) if text is not None})

    async def _webhooks(self) -> Iterator[Metric]:
        owners: Any = await self._connection.hkeys(KEY_RECORDS_KEY)
        now = time.time()
        async with self._connection.pipeline(transaction=False) as pipeline:
            for owner in (each.decode() for each in owners[:KEYS_MAX]):
                pipeline.zcard(webhook_pending_key(owner))
                pipeline.zcard(webhook_dead_key(owner))
                pipeline.zrange(webhook_pending_key(owner), 0, 0, withscores=True)
            found = await pipeline.execute()
        oldest = [queued_at for first in found[2::3] for _, queued_at in first]
        return iter(
            (
                GaugeMetricFamily("photogram_webhook_backlog", "Webhooks that wait to be sent.", sum(found[0::3])),
                GaugeMetricFamily(
                    "photogram_webhook_dead", "Webhooks that were given up and are kept.", sum(found[1::3])
                ),
                GaugeMetricFamily(
                    "photogram_webhook_oldest_seconds",
                    "For how long the oldest webhook has waited to be sent.",
                    max(0.0, now - min(oldest, default=now)),
                ),
            )
        )

    async def _key_usage(self) -> list[Metric]:
        records: Any = await self._connection.hvals(KEY_RECORDS_KEY)
        keys = [KeyRecord.from_json(text) for text in records[:KEYS_MAX]]
        month = Periods.at(time.time()).month
        async with self._connection.pipeline(transaction=False) as pipeline:
            for key in keys:
                pipeline.hmget(usage_key(key.owner, month), "jobs", "step_px")
            found = await pipeline.execute()
        jobs = GaugeMetricFamily("photogram_key_month_jobs", "Jobs that a key submitted this month.", labels=["key"])
        units = GaugeMetricFamily(
            "photogram_key_month_work_units", "Cost units that a key used this month (UTC).", labels=["key"]
        )
        for key, (count, step_px) in zip(keys, found, strict=True):
            jobs.add_metric([key.key_id], int(count or 0))
            units.add_metric([key.key_id], int(step_px or 0) / STEP_PX_PER_UNIT)
        return [jobs, units]


def _queue_families(counts: Mapping[str, QueueCount]) -> Iterator[Metric]:
    jobs = GaugeMetricFamily("photogram_queue_jobs", "Jobs that no worker has taken yet.", labels=["queue"])
    alive = GaugeMetricFamily("photogram_workers", "Workers that take jobs now.", labels=["queue"])
    for queue, count in counts.items():
        jobs.add_metric([queue], count.waiting)
        alive.add_metric([queue], len(count.workers))
    return iter((jobs, alive))


def _waiting(jobs: Mapping[bytes, bytes], work: Mapping[bytes, bytes]) -> Iterator[_Waiting]:
    queues = {kind.name: kind.queue for kind in job_kinds()}
    for field, count in jobs.items():
        kind, _, model = field.decode().partition("\n")
        yield _Waiting(queues.get(kind, NONE), model or NONE, int(count), int(work.get(field, 0)))


def _waiting_families(waiting: Iterable[tuple[_Waiting, bytes | None]]) -> Iterator[Metric]:
    """The jobs that wait by queue and model, their work, and how long one worker needs for it, where that is known.

    Args:
        waiting: with the seconds of a worker for each pixel and step, as Redis has them.
    """
    labels = ["queue", "model"]
    jobs = GaugeMetricFamily("photogram_queued_jobs", "Jobs that wait.", labels=labels)
    units = GaugeMetricFamily(
        "photogram_queued_work_units", "Work that waits, in cost units: millions of pixels times steps.", labels=labels
    )
    seconds = GaugeMetricFamily(
        "photogram_queued_work_seconds",
        "Work that waits, in seconds that one worker needs for it at the speed that was measured.",
        labels=labels,
    )
    for each, pace in waiting:
        labelled = [each.queue, each.model]
        jobs.add_metric(labelled, each.jobs)
        units.add_metric(labelled, each.step_px / STEP_PX_PER_UNIT)
        if pace is not None:
            seconds.add_metric(labelled, each.step_px * float(pace))
    return iter((jobs, units, seconds))


def _summed(waiting: Iterable[_Waiting]) -> Sequence[_Waiting]:
    """The sum of all kinds, by queue and model."""
    found: dict[tuple[str, str], _Waiting] = {}
    for each in waiting:
        key = (each.queue, each.model)
        earlier = found.get(key, _Waiting(*key, 0, 0))
        found[key] = _Waiting(*key, earlier.jobs + each.jobs, earlier.step_px + each.step_px)
    return list(found.values())


def merged(published: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[Metric]:
    """The metrics of all workers, each sample with its worker's name as the label ``worker``.

    Args:
        published: what each worker wrote, as ``workers.metrics`` makes it.
    """
    families: dict[str, Metric] = {}
    for worker, metrics in published.items():
        for each in metrics:
            family = families.setdefault(each["name"], Metric(each["name"], each["help"], each["type"]))
            for name, labels, value in each["samples"]:
                family.add_sample(name, {**labels, "worker": worker}, value)
    return iter(families.values())

"""What a worker counts, and the thread that publishes its metrics in Redis; ``engine_metrics`` has the engine's.

A worker has no HTTP server. It writes all metrics of its process under one key, which expires if it dies, and any
gateway shows them with the worker's name (``service.backbone.cluster_metrics``).
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric
from redis import Redis
from redis.exceptions import RedisError

from service.backbone.keyspace import worker_metrics_key
from service.backbone.metrics import REGISTRY

log = logging.getLogger(__name__)

PUBLISH_EVERY_S = 5.0
PUBLISHED_FOR_S = 30
"""A worker that published nothing for so long is shown no more."""

BUSY_SECONDS = Counter(
    "photogram_engine_busy_seconds", "Seconds that the engine took steps for a model.", ["model"], registry=REGISTRY
)
_REWRITE_SECONDS = Histogram(
    "photogram_rewrite_seconds",
    "Seconds that rewriting a prompt took, by what became of it.",
    ["status"],
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 1.5, 2, 2.5, 5, 10),
    registry=REGISTRY,
)
_HELD_JOBS = Gauge("photogram_worker_held_jobs", "Jobs that the worker has taken and not ended.", registry=REGISTRY)


def observe_rewrite(status: str, seconds: float) -> None:
    """Note what became of a prompt that was to be rewritten, one of the statuses of ``models.jobs.rewrite``."""
    _REWRITE_SECONDS.labels(status).observe(seconds)


class MetricsPublisher(threading.Thread):
    """Publishes the metrics of this process every few seconds, for as long as the worker lives.

    Args:
        held: how many jobs the worker holds.
    """

    def __init__(
        self, connection: Redis, name: str, held: Callable[[], int], registry: CollectorRegistry = REGISTRY
    ) -> None:
        super().__init__(name="metrics", daemon=True)
        self._connection, self._key, self._registry = connection, worker_metrics_key(name), registry
        self._held = held
        self._stopping = threading.Event()

    def stop(self) -> None:
        """End the thread, and show this worker's metrics no more."""
        self._stopping.set()
        self.join()
        try:
            self._connection.delete(self._key)
        except RedisError as error:
            log.warning("the metrics of this worker are shown for a while: %s", error)

    def run(self) -> None:
        """Publish until stopped; goes on when Redis cannot be reached."""
        while not self._stopping.wait(PUBLISH_EVERY_S):
            try:
                self.publish()
            except RedisError as error:
                log.warning("the metrics of this worker were not published: %s", error)
            except Exception:
                log.exception("the metrics of this worker could not be collected")

    def publish(self) -> None:
        """Write all metrics."""
        _HELD_JOBS.set(self._held())
        text = json.dumps([_payload(metric) for metric in self._registry.collect()])
        self._connection.set(self._key, text, ex=PUBLISHED_FOR_S)


def _payload(metric: Metric) -> dict[str, Any]:
    """A metric as JSON has it; ``_created`` samples, which tell when a series began, are left out."""
    samples = [[each.name, each.labels, each.value] for each in metric.samples if not each.name.endswith("_created")]
    return {"name": metric.name, "type": metric.type, "help": metric.documentation, "samples": samples}

"""The metrics of the diffusion engine: its steps, its rows and its cache of models."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import Histogram, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from models.diffusion.engine import Engine
from models.diffusion.observation import EngineStep
from service.backbone.metrics import NONE, REGISTRY, bounded_model
from workers.metrics import BUSY_SECONDS

_STEP_SECONDS = Histogram(
    "photogram_engine_step_seconds",
    "Seconds of one step of the engine: one forward of a batch, with the steps of the samplers.",
    ["family"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
    registry=REGISTRY,
)
_BATCH_ROWS = Histogram(
    "photogram_engine_batch_rows",
    "Rows that shared a forward: how full batches are.",
    ["family"],
    buckets=(1, 2, 3, 4, 6, 8, 12, 16, 24, 32),
    registry=REGISTRY,
)


def observe_step(step: EngineStep) -> None:
    """Note a step of the engine."""
    family = step.family or NONE
    _STEP_SECONDS.labels(family).observe(step.seconds)
    _BATCH_ROWS.labels(family).observe(step.rows)
    BUSY_SECONDS.labels(bounded_model(step.model)).inc(step.seconds)


class EngineMetrics(Collector):
    """The rows and the cache of models of one engine, read when metrics are published."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def collect(self) -> Iterator[Metric]:
        """The metrics as they are now."""
        cache = self._engine.cache_counts
        rows = GaugeMetricFamily("photogram_engine_rows", "Jobs in the engine.", labels=["state"])
        rows.add_metric(["running"], self._engine.running)
        rows.add_metric(["waiting"], self._engine.waiting)
        yield rows
        yield GaugeMetricFamily("photogram_model_cache_models", "Models that are loaded.", cache.models)
        yield GaugeMetricFamily("photogram_model_cache_bytes", "Bytes of all loaded weights.", cache.held_bytes)
        for name, text, value in (
            ("hits", "Requests for a model that was loaded already.", cache.hits),
            ("loads", "Models that were loaded.", cache.loads),
            ("load_seconds", "Seconds that loading models took, without downloads.", cache.load_s),
            ("load_failures", "Models that could not be loaded.", cache.failures),
            ("evictions", "Models that were dropped from memory.", cache.evictions),
        ):
            yield CounterMetricFamily(f"photogram_model_cache_{name}", text, value)

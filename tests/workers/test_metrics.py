"""What a worker publishes: its metrics, under its name, for a while."""

from __future__ import annotations

import json

from prometheus_client import CollectorRegistry, Counter, Histogram

from models.diffusion.model_cache import CacheCounts
from service.backbone.keyspace import worker_metrics_key
from workers import metrics
from workers.engine_metrics import EngineMetrics


def test_all_metrics_of_the_process_are_published_for_a_while(redis):
    registry = CollectorRegistry()
    Counter("things", "Things.", ["colour"], registry=registry).labels("red").inc(2)
    Histogram("waits_seconds", "Waits.", buckets=(1, 5), registry=registry).observe(3)
    publisher = metrics.MetricsPublisher(redis, "w1", lambda: 4, registry)
    publisher.publish()
    found = {each["name"]: each for each in json.loads(redis.get(worker_metrics_key("w1")))}
    assert found["things"]["type"] == "counter"
    assert found["things"]["samples"] == [["things_total", {"colour": "red"}, 2]]
    names = [name for name, _, _ in found["waits_seconds"]["samples"]]
    assert names == ["waits_seconds_bucket"] * 3 + ["waits_seconds_count", "waits_seconds_sum"]
    assert 0 < redis.ttl(worker_metrics_key("w1")) <= metrics.PUBLISHED_FOR_S
    publisher.start()
    publisher.stop()
    assert redis.get(worker_metrics_key("w1")) is None


def test_the_engine_is_read_when_metrics_are_collected():
    class StillEngine:
        running, waiting = 3, 1
        cache_counts = CacheCounts(hits=7, loads=2, load_s=1.5, failures=1, evictions=4, models=1, held_bytes=100)

    found = {each.name: [sample.value for sample in each.samples] for each in EngineMetrics(StillEngine()).collect()}
    assert found == {
        "photogram_engine_rows": [3, 1],
        "photogram_model_cache_models": [1],
        "photogram_model_cache_bytes": [100],
        "photogram_model_cache_hits": [7],
        "photogram_model_cache_loads": [2],
        "photogram_model_cache_load_seconds": [1.5],
        "photogram_model_cache_load_failures": [1],
        "photogram_model_cache_evictions": [4],
    }

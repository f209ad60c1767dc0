"""What a worker publishes: its metrics under its name for a while, and the speeds of models."""

from __future__ import annotations

import json

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram

from models.diffusion.model_cache import CacheCounts
from models.diffusion.observation import EngineStep
from service.backbone.keyspace import MODEL_SPEEDS_KEY, worker_metrics_key
from service.backbone.metrics import WORK_DONE
from workers import metrics
from workers.engine_metrics import EngineMetrics, observe_step


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


def test_the_speed_of_a_model_is_its_work_by_the_time_that_it_took(redis):
    for _ in range(4):
        observe_step(EngineStep("speedy", "sd", rows=2, inputs=4, seconds=0.5))
    assert "speedy" not in metrics.measured_speeds()  # no job has succeeded yet
    WORK_DONE.labels("speedy").inc(30)
    assert metrics.measured_speeds()["speedy"] == pytest.approx(15e6)
    metrics.MetricsPublisher(redis, "w1", lambda: 0).publish()
    assert float(redis.hget(MODEL_SPEEDS_KEY, "speedy")) == pytest.approx(15e6)


def test_a_model_that_hardly_ran_has_no_speed_yet():
    observe_step(EngineStep("brief", "sd", rows=1, inputs=2, seconds=0.1))
    WORK_DONE.labels("brief").inc(30)
    assert "brief" not in metrics.measured_speeds()


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

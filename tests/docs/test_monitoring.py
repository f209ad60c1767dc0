"""The files for Prometheus and Grafana: every metric that they ask for exists."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from prometheus_client import Metric

import service.api.metrics.requests
import service.webhooks.metrics  # noqa: F401
from models.diffusion.model_cache import CacheCounts
from service.backbone.cluster_metrics import ClusterMetrics
from service.backbone.connections import connect_async
from service.backbone.metrics import REGISTRY
from workers.engine_metrics import EngineMetrics

FOLDER = Path(__file__).parents[2] / "docker" / "monitoring"
PAGE = Path(__file__).parents[2] / "docs" / "monitoring.md"
_NAME = re.compile(r"\b(?:photogram|process)_[a-z_]+\b")
_SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}


async def existing(redis_url: str) -> dict[str, Metric]:
    """Every metric that there is, by each name that its series have."""
    counts = CacheCounts(hits=0, loads=0, load_s=0, failures=0, evictions=0, models=0, held_bytes=0)
    engine = EngineMetrics(SimpleNamespace(running=0, waiting=0, cache_counts=counts))
    connection = connect_async(redis_url, "test")
    shared = await ClusterMetrics(connection, shows_keys=True).read()
    await connection.aclose(close_connection_pool=True)
    found = [*REGISTRY.collect(), *engine.collect(), *shared]
    return {metric.name + suffix: metric for metric in found for suffix in _SUFFIXES[metric.type]}


def expressions() -> list[str]:
    """What the dashboard and the alerts ask Prometheus."""
    panels = json.loads((FOLDER / "grafana.json").read_text())["panels"]
    rules = yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"][0]["rules"]
    return [target["expr"] for panel in panels for target in panel["targets"]] + [rule["expr"] for rule in rules]


async def test_every_metric_that_is_asked_for_exists(redis_url):
    names = {name for text in expressions() for name in _NAME.findall(text)}
    assert len(names) > 15
    assert names <= set(await existing(redis_url))


async def test_the_page_names_every_metric_and_no_other(redis_url):
    told = set(re.findall(r"^\| `(photogram_[a-z_]+)`", PAGE.read_text(), re.MULTILINE))
    families = {metric.name: metric for metric in (await existing(redis_url)).values()}
    exposed = {name + "_total" * (metric.type == "counter") for name, metric in families.items()}
    assert told == {name for name in exposed if name.startswith("photogram_")}


async def test_metrics_have_base_units_and_help(redis_url):
    for name, metric in (await existing(redis_url)).items():
        assert metric.documentation, name
        assert not re.search(r"_(ms|milliseconds|kb|mb|minutes)(_|$)", name)


@pytest.mark.parametrize("name", ["prometheus.yaml", "alerts.yaml"])
def test_the_files_are_yaml(name):
    assert yaml.safe_load((FOLDER / name).read_text())

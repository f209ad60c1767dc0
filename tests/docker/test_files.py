"""The files in docker/: accepted by the tools of their formats, and in step with the settings and the metrics."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from models.jobs.kinds import DIFFUSION_QUEUE
from service.backbone.settings import Settings

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
PROGRAMS = Path(sys.executable).parent
COMPOSE = sorted(DOCKER.glob("compose*.yaml"))
MANIFESTS = sorted(DOCKER.glob("kubernetes/*.yaml"))
OF_OTHERS = ("GF_", "VLLM_", "PHOTOGRAM_DISCORD_", "AWS_")
"""Beginnings of variables that other programs read, the bot among them."""
OF_CLIENTS = {"PHOTOGRAM_URL", "PHOTOGRAM_API_KEY_FILE"}


def output_of(*command: str | Path) -> str:
    found = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    return "" if found.returncode == 0 else found.stdout + found.stderr


def documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text()))


@pytest.mark.parametrize("path", sorted(DOCKER.glob("Dockerfile*")), ids=lambda path: path.name)
def test_hadolint_has_nothing_to_say(path: Path) -> None:
    assert output_of(PROGRAMS / "hadolint", "--no-color", path) == ""


def test_compose_files_follow_the_specification() -> None:
    assert output_of(PROGRAMS / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", *COMPOSE) == ""


def test_manifests_follow_the_schemas_of_kubernetes() -> None:
    assert output_of(PROGRAMS / "kubernetes-validate", "--strict", *MANIFESTS) == ""


def variables(node: object) -> Iterator[str]:
    """All variables that a compose file or a manifest sets for a container."""
    if isinstance(node, list):
        for each in node:
            yield from variables(each)
    elif isinstance(node, dict):
        set_here = node.get("environment", {})
        yield from set_here if isinstance(set_here, dict) else ()
        yield from (each["name"] for each in node.get("env", ()))
        for each in node.values():
            yield from variables(each)


def test_all_variables_are_settings() -> None:
    known = {name for each in Settings.declared() for name in each.variables} | OF_CLIENTS
    example = re.findall(r"^(\w+)=", (DOCKER / "photogram.env.example").read_text(), re.MULTILINE)
    files = [document for path in (*COMPOSE, *MANIFESTS) for document in documents(path)]
    found = {name for name in (*variables(files), *example) if not name.startswith(OF_OTHERS)}
    assert len(found) > 10 and found <= known


def test_the_services_of_compose_build_targets_that_there_are() -> None:
    targets = set(re.findall(r" AS (\S+)$", (DOCKER / "Dockerfile").read_text(), re.MULTILINE))
    for path in COMPOSE:
        for service in documents(path)[0]["services"].values():
            build = service.get("build")
            if build is not None:
                assert (ROOT / build["dockerfile"]).is_file()
                target = build.get("target", "up")
                assert re.sub(r"\$\{\w+:-(\S+)\}", r"\1", target) in targets


def test_files_that_compose_mounts_exist() -> None:
    mounted = [
        volume.split(":")[0]
        for path in COMPOSE
        for service in documents(path)[0]["services"].values()
        for volume in service.get("volumes", ())
        if volume.startswith(".")
    ]
    assert mounted and all((DOCKER / name).exists() for name in mounted)


def test_keda_scales_the_workers_on_the_metric_of_queued_work() -> None:
    (scaled,) = documents(DOCKER / "kubernetes" / "keda" / "worker.yaml")
    (worker,) = documents(DOCKER / "kubernetes" / "worker.yaml")
    assert scaled["spec"]["scaleTargetRef"]["name"] == worker["metadata"]["name"]
    queries = [trigger["metadata"]["query"] for trigger in scaled["spec"]["triggers"]]
    page = (ROOT / "docs" / "monitoring.md").read_text()
    for query in queries:
        (metric,) = re.findall(r"photogram_\w+(?={)", query)
        assert f"| `{metric}` |" in page and f'queue="{DIFFUSION_QUEUE}"' in query


def test_selectors_and_services_name_pods_that_there_are() -> None:
    found = [document for path in MANIFESTS for document in documents(path)]
    labels = [each["spec"]["template"]["metadata"]["labels"] for each in found if "template" in each["spec"]]
    selectors = [each["spec"]["selector"] for each in found]
    assert all(selector.get("matchLabels", selector) in labels for selector in selectors)


def test_the_datasource_and_the_scrape_configuration_name_services_of_compose() -> None:
    services: set[str] = {name for path in COMPOSE for name in documents(path)[0]["services"]}
    monitoring = DOCKER / "monitoring"
    (source,) = documents(monitoring / "grafana.datasources.yaml")[0]["datasources"]
    scraped = documents(monitoring / "prometheus.compose.yaml")[0]["scrape_configs"]
    hosts = [target.partition(":")[0] for each in scraped for target in each["static_configs"][0]["targets"]]
    assert {source["url"].split("/")[2].partition(":")[0], *hosts} == {"prometheus", "gateway"} <= services
    dashboards = documents(monitoring / "grafana.dashboards.yaml")[0]["providers"]
    assert dashboards[0]["options"]["path"] and json.loads((monitoring / "grafana.json").read_text())["panels"]

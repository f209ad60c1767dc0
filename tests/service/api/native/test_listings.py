"""The native listings of models and samplers."""

from __future__ import annotations

import os
import time

import httpx
import pytest

from models.catalog.catalog import HOUSE_FOLDER, Catalog
from models.downloads.notes import noted
from models.downloads.transfer import RemoteFile, incomplete_of
from models.errors import DownloadFailed
from service.api.app import create_app

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
[models.grey]
folder = "{house}"
vae = "/srv/secret/vae.safetensors"
"""


@pytest.fixture
def cataloged(serve, settings, data, key):
    (data / "catalog.toml").write_text(CATALOG.replace("{house}", str(HOUSE_FOLDER)))
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
    assert list(models) == ["house", "paint", "gone", "empty", "grey"]
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
    assert models["grey"]["problem"] == "its VAE is missing"
    text = cataloged.get("/v1/models").text
    assert not any(leak in text for leak in ("/srv", "secret", "/root", str(data)))


def test_a_download_that_was_cut_off_is_told_without_paths(cataloged, data, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    paint = Catalog.load(data / "catalog.toml")["paint"]
    assert models_of(cataloged)["paint"]["download"] is None
    remote, place = RemoteFile(url="https://example.org/x", size_bytes=1000), tmp_path / "hub" / "weights"
    with pytest.raises(DownloadFailed), noted(paint, [(remote, place)], total_bytes=1200, other_bytes=200):
        incomplete_of(place).write_bytes(bytes(300))
        raise DownloadFailed("the connection broke off")
    download = {"done_bytes": 500, "total_bytes": 1200, "bytes_per_s": None, "is_running": False}
    assert models_of(cataloged)["paint"]["download"] == download


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

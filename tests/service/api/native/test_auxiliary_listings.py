"""Listings of what helps a model: discovered in the data folder or named in the catalog, with what is wrong."""

from __future__ import annotations

import os
import time

import httpx
import pytest

from models.catalog.samplers import REFUSED
from service.api.app import create_app
from service.backbone.ledger import Ledger
from tests.weight_files import FILES, LORA_FILE

CATALOG = """
[loras."Film Look"]
file = "elsewhere/film.safetensors"
family = "sdxl"
aliases = ["film"]
licence = "CC0-1.0"
"""


@pytest.fixture
def cataloged(serve, settings, data, key):
    (data / "catalog.toml").write_text(CATALOG)
    (data / "loras").mkdir()
    (data / "loras" / "grain.safetensors").write_bytes(LORA_FILE)
    (data / "loras" / "notes.txt").write_text("x")
    with (
        serve(create_app(settings)) as url,
        httpx.Client(base_url=url, headers={"X-API-Key": key}, timeout=20) as client,
    ):
        yield client


def test_loras_are_listed_without_the_servers_paths(cataloged, data):
    answer = cataloged.get("/v1/loras")
    grain, film = answer.json()["loras"]
    assert grain == {"name": "grain", "family": None, "aliases": [], "licence": "", "problem": None}
    assert film == {
        "name": "Film Look", "family": "sdxl", "aliases": ["film"], "licence": "CC0-1.0",
        "problem": "its file is missing",
    }  # fmt: skip
    assert str(data) not in answer.text


def test_a_file_that_is_dropped_in_is_seen_at_once(cataloged, data):
    job = {"kind": "txt2img", "params": {"prompt": "x <lora:smoke:0.5>"}}
    assert cataloged.post("/v1/jobs", json=job).status_code == 422
    (data / "loras" / "smoke.safetensors").write_bytes(LORA_FILE)
    os.utime(data / "loras", (time.time() + 5, time.time() + 5))
    answer = cataloged.post("/v1/jobs", json=job)
    assert answer.json()["params"]["loras"] == [{"name": "smoke", "weight": 0.5}]
    (data / "controlnets").mkdir()
    (data / "controlnets" / "canny.safetensors").write_bytes(FILES["controlnets"])
    assert [each["name"] for each in cataloged.get("/v1/controlnets").json()["controlnets"]] == ["canny"]


def test_embeddings_are_listed(cataloged):
    assert cataloged.get("/v1/embeddings").json() == {"embeddings": []}


def test_upscalers_and_preprocessors_say_what_they_lack(cataloged):
    upscalers = {each["name"]: each["problem"] for each in cataloged.get("/v1/upscalers").json()["upscalers"]}
    assert upscalers["Lanczos"] is None and "needs weights" in upscalers["R-ESRGAN 4x+"]
    listed = {each["name"]: each for each in cataloged.get("/v1/preprocessors").json()["preprocessors"]}
    assert listed["canny"]["problem"] is None and listed["canny"]["threshold_a"]["high"] == 255
    assert "not available" in listed["depth"]["problem"] and listed["depth"]["threshold_a"] is None


def test_styles_and_samplers_are_listed(cataloged):
    styles = {each["name"]: each for each in cataloged.get("/v1/styles").json()["styles"]}
    assert styles["anime"]["suffix"]
    samplers = {each["name"]: each["problem"] for each in cataloged.get("/v1/samplers").json()["samplers"]}
    assert samplers["Euler"] is None and set(REFUSED) <= {name for name, problem in samplers.items() if problem}


def test_models_say_what_computes_them(cataloged, redis):
    [house] = cataloged.get("/v1/models").json()["models"]
    assert (house["backend"], house["relative_error"]) == (None, None)
    Ledger(redis, 60).note_model_backend("house", "openvino", 0.001)
    [house] = cataloged.get("/v1/models").json()["models"]
    assert (house["backend"], house["relative_error"]) == ("openvino", 0.001)


PATHS = ["loras", "embeddings", "controlnets", "upscalers", "preprocessors", "styles", "capabilities"]


@pytest.mark.parametrize("path", PATHS)
def test_listings_need_a_key(anonymous, path):
    assert anonymous.get(f"/v1/{path}").status_code == 401

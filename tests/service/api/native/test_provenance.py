"""``POST /v1/provenance/verify``, and how keys, preferences and jobs decide how images are marked."""

from __future__ import annotations

import asyncio
import os

import httpx
import pytest

from models.jobs.records import new_job_id
from models.provenance.signing import CREATED, Claim
from service.api import inspecting
from service.api.inspecting import InspectionFailed, Inspector
from service.backbone.provenance import Signing
from service.backbone.settings import Settings
from service.backbone.store import ImageStore
from tests.models.provenance.samples import encoded, photograph

PATH = "/v1/provenance/verify"
PNG = encoded(photograph(64))


@pytest.fixture
def signed(server_data) -> bytes:
    """An image that the server signed."""
    return Signing(Settings(data=server_data)).sign(PNG, "image/png", Claim([CREATED], "trainedAlgorithmicMedia"))


def test_an_upload_tells_what_it_carries(client, signed):
    told = client.post(PATH, content=signed, headers={"Content-Type": "image/png"}).json()
    assert told["media_type"] == "image/png" and told["digital_source_type"] is None and told["parameters"] == ""
    assert (told["c2pa"]["state"], told["c2pa"]["is_ours"], told["watermark"]) == ("valid", True, None)
    nothing = client.post(PATH, content=PNG, headers={"Content-Type": "application/octet-stream"}).json()
    assert nothing["c2pa"] is None


def test_an_image_of_the_server_is_named(client, server_data, signed):
    image_id = ImageStore(server_data / "images").add(signed)
    assert client.post(PATH, json={"image": f"image:{image_id}"}).json()["c2pa"]["is_ours"]
    source = client.post("/v1/inputs", content=PNG, headers={"Content-Type": "image/png"}).json()["source"]
    assert client.post(PATH, json={"image": source}).json()["c2pa"] is None


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        ({"content": PNG, "headers": {"Content-Type": "text/plain"}}, 415, "unsupported_media_type"),
        ({"content": b""}, 422, "invalid_params"),
        ({"content": b"", "headers": {"Content-Type": "image/png"}}, 422, "invalid_params"),
        ({"content": b"<svg/>", "headers": {"Content-Type": "image/png"}}, 422, "invalid_params"),
        ({"content": PNG[:200], "headers": {"Content-Type": "image/png"}}, 422, "invalid_params"),
        ({"content": os.urandom(90_000), "headers": {"Content-Type": "image/jpeg"}}, 422, "invalid_params"),
        ({"content": bytes(200_000), "headers": {"Content-Type": "image/png"}}, 413, "body_too_large"),
        ({"content": b"{", "headers": {"Content-Type": "application/json"}}, 422, "malformed_json"),
        ({"json": {}}, 422, "invalid_params"),
        ({"json": {"image": "https://example.org/a.png"}}, 422, "invalid_params"),
        ({"json": {"image": f"image:{new_job_id()}"}}, 422, "invalid_params"),
        ({"json": {"image": "image:" + "." * 36}}, 422, "invalid_params"),
        ({"json": {"image": "input:" + "0" * 64, "more": 1}}, 422, "invalid_params"),
    ],
)
def test_hostile_bodies_are_refused(client, sent, status, code):
    answer = client.post(PATH, **sent)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


def test_damaged_manifests_harm_nobody(client, signed):
    at = signed.index(b"jumb")
    for place in range(at, at + 400, 37):
        damaged = signed[:place] + bytes([signed[place] ^ 0xFF]) + signed[place + 1 :]
        answer = client.post(PATH, content=damaged, headers={"Content-Type": "image/png"})
        assert answer.status_code in (200, 422), answer.text
    assert client.get("/healthz").status_code == 200


def test_it_needs_a_key(anonymous):
    assert anonymous.post(PATH, content=PNG, headers={"Content-Type": "image/png"}).status_code == 401


async def test_a_file_that_takes_too_long_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(inspecting, "TIMEOUT_S", 0.01)
    inspector = Inspector(Signing(Settings(data=tmp_path)))
    asked = [inspector.inspect(PNG) for _ in range(3)]
    assert all(isinstance(each, InspectionFailed) for each in await asyncio.gather(*asked, return_exceptions=True))


async def test_a_reader_that_crashes_is_an_answer(tmp_path, monkeypatch):
    monkeypatch.setattr(inspecting, "_PROGRAM", "models.no_such_module")
    with pytest.raises(InspectionFailed):
        await Inspector(Signing(Settings(data=tmp_path))).inspect(PNG)


# How an image is to be marked


@pytest.fixture
def key_with(client):
    """Makes a key with a rule; gives a client that uses it."""
    made = []

    def make(provenance: str | None) -> httpx.Client:
        answer = client.post("/v1/keys", json={"name": "x", "provenance": provenance})
        assert answer.status_code == 201 and answer.json()["provenance"] == provenance
        made.append(httpx.Client(base_url=client.base_url, headers={"X-API-Key": answer.json()["key"]}, timeout=20))
        return made[-1]

    yield make
    for each in made:
        each.close()


def level_of(answer, worker) -> str:
    assert answer.status_code == 202, answer.text
    return worker.ledger.read(answer.json()["id"]).params.provenance


def test_jobs_are_marked_as_the_server_says(client, body, worker):
    assert level_of(client.post("/v1/jobs", json=body()), worker) == "c2pa"
    assert level_of(client.post("/v1/jobs", json=body(provenance="watermark")), worker) == "watermark"


@pytest.mark.parametrize("less", ["none", "iptc"])
def test_marks_cannot_be_left_out_unless_the_key_allows_it(client, key_with, body, worker, less):
    refused = client.post("/v1/jobs", json=body(provenance=less))
    assert refused.status_code == 422
    (problem,) = refused.json()["errors"]
    assert problem["field"].endswith("provenance") and problem["allowed"] == ["c2pa", "watermark"]
    assert level_of(key_with("none").post("/v1/jobs", json=body(provenance=less)), worker) == less


def test_a_key_can_need_more_than_the_server(key_with, body, worker):
    strict = key_with("watermark")
    assert level_of(strict.post("/v1/jobs", json=body()), worker) == "watermark"
    assert strict.post("/v1/jobs", json=body(provenance="c2pa")).status_code == 422


def test_a_preference_holds_as_far_as_the_key_allows(client, key_with, body, worker):
    for each, wanted in ((client, "c2pa"), (key_with("none"), "none")):
        assert each.patch("/v1/preferences", json={"provenance": "none"}).status_code == 200
        assert level_of(each.post("/v1/jobs", json=body()), worker) == wanted

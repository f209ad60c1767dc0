"""What an API key prefers: read, changed, apart from other keys', and kept."""

from __future__ import annotations

import json
import time
from dataclasses import asdict

import pytest

from service.api.app import create_app
from service.backbone import preferences
from service.backbone.connections import connect_async
from service.backbone.preferences import Preferences, PreferenceValues
from service.backbone.rewrite_cache import TTL_S, RedisRewriteCache

PATH = "/v1/preferences"
DEFAULTS = {"enhance_prompt": False, "enhance_negative_prompt": False, "metadata": "full", "provenance": None}
BOTH = DEFAULTS | {"enhance_prompt": True, "enhance_negative_prompt": True}


def test_nothing_is_enhanced_unless_somebody_wants_it(client):
    answer = client.get(PATH)
    assert (answer.status_code, answer.json()) == (200, DEFAULTS)


def test_what_is_named_changes_and_the_rest_stays(client):
    for sent, expected in [
        ({"enhance_prompt": True}, DEFAULTS | {"enhance_prompt": True}),
        ({"enhance_negative_prompt": True}, BOTH),
        ({}, BOTH),
        ({"enhance_prompt": None}, DEFAULTS | {"enhance_negative_prompt": True}),
        ({"enhance_prompt": False, "enhance_negative_prompt": None}, DEFAULTS),
        ({"metadata": "none"}, DEFAULTS | {"metadata": "none"}),
        ({"metadata": "drawn"}, DEFAULTS | {"metadata": "drawn"}),
        ({"metadata": None}, DEFAULTS),
        ({"provenance": "watermark"}, DEFAULTS | {"provenance": "watermark"}),
    ]:
        changed = client.patch(PATH, json=sent)
        assert (changed.status_code, changed.json()) == (200, expected)
        assert client.get(PATH).json() == expected


def test_each_key_has_its_own(client, stranger):
    client.patch(PATH, json=BOTH)
    assert (client.get(PATH).json(), stranger.get(PATH).json()) == (BOTH, DEFAULTS)


def test_nobody_has_any_without_a_key(anonymous):
    for answer in (anonymous.get(PATH), anonymous.patch(PATH, json=BOTH)):
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")


@pytest.mark.parametrize(
    ("content", "code", "field"),
    [
        (b'{"enhance_promt": true}', "invalid_params", "enhance_promt"),
        (b'{"enhance_prompt": 1}', "invalid_params", "enhance_prompt"),
        (b'{"enhance_prompt": "true"}', "invalid_params", "enhance_prompt"),
        (b'{"enhance_prompt": [true]}', "invalid_params", "enhance_prompt"),
        (b'{"metadata": "some"}', "invalid_params", "metadata"),
        (b'{"metadata": true}', "invalid_params", "metadata"),
        (b'{"provenance": "all"}', "invalid_params", "provenance"),
        (b"[]", "invalid_params", "body"),
        (b"null", "invalid_params", "body"),
        (b'{"enhance_prompt": true, "enhance_prompt": false}', "malformed_json", None),
        (b"{", "malformed_json", None),
        (b"", "malformed_json", None),
    ],
)
def test_hostile_changes_change_nothing(client, content, code, field):
    answer = client.patch(PATH, content=content, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert field is None or answer.json()["errors"][0]["field"] == field
    assert client.get(PATH).json() == DEFAULTS


def test_other_content_types_are_refused(client):
    answer = client.patch(PATH, content=b'{"enhance_prompt": true}', headers={"Content-Type": "text/plain"})
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


def test_another_gateway_sees_them(client, key, serve, settings):
    client.patch(PATH, json=BOTH)
    with serve(create_app(settings)) as url:
        assert client.get(f"{url}{PATH}").json() == BOTH


async def test_what_was_read_is_remembered_for_a_while(redis, redis_url, monkeypatch):
    now = time.monotonic()
    monkeypatch.setattr(preferences.time, "monotonic", lambda: now)
    connection = connect_async(redis_url, "photogram-test")
    ours, theirs = Preferences(connection), Preferences(connection)
    assert await ours.get("owner") == PreferenceValues()
    await theirs.change("owner", {"enhance_prompt": True})
    assert asdict(await ours.get("owner")) == DEFAULTS
    now += 5.1
    assert asdict(await ours.get("owner")) == DEFAULTS | {"enhance_prompt": True}
    await connection.aclose(close_connection_pool=True)


async def test_rewritten_prompts_are_kept_for_a_week(redis, redis_url):
    connection = connect_async(redis_url, "photogram-test")
    cache = RedisRewriteCache(connection)
    assert await cache.get("a") is None
    await cache.put("a", {"text": "ein Fuchs, 狐狸", "count": 2})
    assert await cache.get("a") == {"text": "ein Fuchs, 狐狸", "count": 2}
    assert await cache.get("b") is None
    assert TTL_S - 60 < redis.ttl("photogram:rewrite:a") <= TTL_S == 7 * 24 * 3600
    redis.set("photogram:rewrite:list", json.dumps([1]))
    assert await cache.get("list") is None
    await connection.aclose(close_connection_pool=True)


TEXT_OF_IMAGE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("/v1/jobs", {"kind": "txt2img", "params": {"prompt": "x"}}),
        ("/v1/jobs", {"kind": "upscale", "params": {"image": TEXT_OF_IMAGE}}),
        ("/v1/sd/generate", {"prompt": "x"}),
        ("/v1/upscale", {"imageData": TEXT_OF_IMAGE, "resize": 2, "model": "Lanczos"}),
        ("/v2/job/async", {"type": "inference.photogram.txt2img.v1", "config": {"prompt": "x"}}),
    ],
)
def test_a_key_that_wants_no_metadata_gets_none_in_any_dialect(client, worker, redis, path, sent):
    worker.ledger.beat("a worker")  # Prodia's API v2 takes no jobs without one
    client.patch(PATH, json={"metadata": "none"})
    answer = client.post(path, json=sent)
    assert answer.status_code in (200, 201, 202), answer.text
    (job_id,) = redis.lrange("rq:queue:photogram", 0, -1)
    assert worker.ledger.read(job_id.decode()).params.metadata == "none"


def test_a_job_says_otherwise_for_itself(client, body, worker):
    client.patch(PATH, json={"metadata": "none"})
    job = client.post("/v1/jobs", json=body(metadata="full")).json()
    assert worker.ledger.read(job["id"]).params.metadata == "full"
    assert client.post("/v1/jobs", json=body(metadata="drawn")).json()["params"]["metadata"] == "drawn"
    refused = client.post("/v1/jobs", json=body(metadata="most"))
    assert refused.json()["errors"][0]["allowed"] == ["full", "drawn", "none"]

"""Wrong keys: how many an address may send, and who is not affected."""

from __future__ import annotations

import base64
from types import SimpleNamespace

import httpx
import pytest

from service.api import throttling
from service.api.app import create_app
from service.api.throttling import WrongKeys
from service.backbone.settings import Settings


@pytest.mark.parametrize("path", ["/v1/models", "/v1/job/x", "/v2/types", "/v1/models/x", "/sdapi/v1/samplers"])
def test_too_many_wrong_keys_get_429_and_right_ones_still_work(serve, redis_url, data, key, path):
    settings = Settings(redis_url=redis_url, data=data, wrong_keys_per_minute=5)
    with serve(create_app(settings)) as url, httpx.Client(base_url=url) as client:
        answers = [client.get(path, headers={"Authorization": f"Bearer wrong-{number}"}) for number in range(8)]
        assert [answer.status_code for answer in answers] == [401] * 5 + [429] * 3
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 12
        assert client.get(path, headers={"Authorization": f"Bearer {key}"}).status_code not in (401, 429)
        assert client.get(path).status_code == 401, "no key is no wrong key"


def test_passwords_are_counted_too(serve, redis_url, data):
    settings = Settings(redis_url=redis_url, data=data, wrong_keys_per_minute=2)
    with serve(create_app(settings)) as url, httpx.Client(base_url=url) as client:
        answers = [client.get("/sdapi/v1/samplers", auth=("me", f"wrong {number}")) for number in range(3)]
        assert [answer.status_code for answer in answers] == [401, 401, 429]
        assert answers[2].json()["error"] == "Too Many Wrong Keys"
        assert base64.b64encode(b"me:wrong 2").decode() not in answers[2].text


def test_addresses_are_counted_apart_and_networks_of_ipv6_together():
    keys = WrongKeys(1)
    assert [keys.wait_s("192.0.2.1"), keys.wait_s("192.0.2.2")] == [None, None]
    assert keys.wait_s("192.0.2.1") == 60
    assert keys.wait_s("2001:db8::1") is None
    assert keys.wait_s("2001:db8::ffff:1") == 60
    assert keys.wait_s("2001:db8:1::1") is None
    assert [WrongKeys(0).wait_s("192.0.2.1") for _ in range(100)] == [None] * 100


def test_few_addresses_are_remembered(monkeypatch):
    monkeypatch.setattr(throttling, "_ADDRESSES_MAX", 3)
    keys = WrongKeys(1)
    for number in range(10):
        assert keys.wait_s(f"192.0.2.{number}") is None
    assert len(keys._buckets) == 3
    assert keys.wait_s("192.0.2.9") == 60


def test_allowance_grows_back(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(throttling, "time", SimpleNamespace(monotonic=lambda: now[0]))
    keys = WrongKeys(2)
    assert [keys.wait_s("a"), keys.wait_s("a"), keys.wait_s("a")] == [None, None, 30]
    now[0] = 30.0
    assert [keys.wait_s("a"), keys.wait_s("a")] == [None, 30]

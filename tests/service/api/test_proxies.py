"""Hosts and proxies: what links are made of, and who is believed."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.app import create_app
from service.api.proxies import TrustedProxies, is_host, requested_base
from service.backbone.settings import Settings

FORWARDED = {"X-Forwarded-Host": "img.example", "X-Forwarded-Proto": "https", "X-Forwarded-Prefix": "/draw/"}


def index(url: str, **headers: str) -> str:
    return httpx.get(f"{url}/", headers={name.replace("_", "-"): value for name, value in headers.items()}).json()[
        "documentation"
    ]


def test_a_trusted_proxy_names_host_scheme_and_prefix(serve, redis_url, data):
    settings = Settings(redis_url=redis_url, data=data)
    with serve(create_app(settings)) as url:
        assert httpx.get(f"{url}/", headers=FORWARDED).json()["documentation"] == "https://img.example/draw/docs"
        assert index(url, X_Forwarded_Host="a.example, b.example") == "http://a.example/docs"


def test_others_are_not_believed(serve, redis_url, data):
    settings = Settings(redis_url=redis_url, data=data, trusted_proxies=("10.0.0.0/8",))
    with serve(create_app(settings)) as url:
        assert httpx.get(f"{url}/", headers=FORWARDED).json()["documentation"] == f"{url}/docs"


@pytest.mark.parametrize(
    "host", ['a"><script>', "a b", "evil.example/path", "user@evil.example", "a:b", "[::1", "é", ""]
)
@pytest.mark.parametrize("header", ["Host", "X-Forwarded-Host"])
def test_no_link_repeats_a_host_that_is_none(serve, redis_url, data, host, header):
    settings = Settings(redis_url=redis_url, data=data)
    with serve(create_app(settings)) as url:
        answer = httpx.get(f"{url}/", headers={header: host.encode()})
        assert answer.status_code == 400 or answer.json()["documentation"] == f"{url}/docs"


@pytest.mark.parametrize("prefix", ["//evil.example", "/a/../b", "draw", "/a b", "/<x>", "/", "/a?b", "/.."])
def test_a_prefix_that_is_none_is_ignored(serve, redis_url, data, prefix):
    settings = Settings(redis_url=redis_url, data=data)
    with serve(create_app(settings)) as url:
        assert index(url, X_Forwarded_Prefix=prefix) == f"{url}/docs"


def test_only_the_named_hosts_are_answered(serve, redis_url, data, key):
    settings = Settings(
        redis_url=redis_url, data=data, hosts=("img.example", "*.lan", "[::1]", "other.example:8443"),
        public_url="https://public.example/api",
    )  # fmt: skip
    with serve(create_app(settings)) as url:
        known = ["img.example", "IMG.example:8000", "img.example.", "a.b.lan", "[::1]:8000", "other.example:8443",
                 "public.example"]  # fmt: skip
        unknown = ["evil.example", "lan", "img.example.evil.example", "other.example", "[::2]", "xlan", 'a"b']
        for host in known:
            assert httpx.get(f"{url}/v1/samplers", headers={"Host": host, "X-API-Key": key}).status_code == 200, host
        for host in unknown:
            answer = httpx.get(f"{url}/v1/samplers", headers={"Host": host, "X-API-Key": key})
            assert (answer.status_code, answer.json()["code"]) == (421, "unknown_host"), host
            assert httpx.get(f"{url}/healthz", headers={"Host": host}).status_code == 200
        forwarded = httpx.get(f"{url}/v1/samplers", headers={"Host": "img.example", "X-Forwarded-Host": "evil.example"})
        assert forwarded.status_code == 421


def applied(client: str, trusted: tuple[str, ...], **headers: str) -> dict[str, Any]:
    sent = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "client": (client, 1), "scheme": "http", "headers": sent, "server": ("::1", 8000)}

    async def app(*_: object) -> None:
        """Nothing: the scope is changed in place."""

    asyncio.run(TrustedProxies(app, trusted)(scope, None, None))
    return scope


@pytest.mark.parametrize(
    ("sent", "client"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("1.2.3.4, 203.0.113.7, 10.0.0.9", "203.0.113.7"),
        ("203.0.113.7:4711", "203.0.113.7"),
        ("[2001:db8::1]:4711, 10.1.1.1", "2001:db8::1"),
        ("10.0.0.9", "10.0.0.1"),
        ("", "10.0.0.1"),
        ("unknown", "10.0.0.1"),
        ("203.0.113.7, <script>", "10.0.0.1"),
    ],
)
def test_the_client_is_the_last_address_that_no_trusted_proxy_has(sent, client):
    scope = applied("10.0.0.1", ("10.0.0.0/8",), x_forwarded_for=sent)
    assert scope["client"][0] == client
    assert applied("192.0.2.1", ("10.0.0.0/8",), x_forwarded_for=sent)["client"][0] == "192.0.2.1"


@given(st.text(max_size=40))
def test_links_hold_no_strange_characters(text):
    assert not is_host(text) or not set(text) & set(" \t\r\n\"'<>/\\?#@%&")
    scope = applied("::1", ("*",), host=text, x_forwarded_host=text, x_forwarded_prefix=text)
    assert not set(requested_base(scope).removeprefix("http://")) & set(" \t\r\n\"'<>\\?#@%&")

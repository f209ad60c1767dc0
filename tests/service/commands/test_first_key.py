"""The first API key: added or created once, when Redis accepts writes."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest
from redis import Redis

from service.backbone.connections import connect_async
from service.backbone.key_records import Scope
from service.backbone.key_store import KeyStore
from service.backbone.keys import KeyRefused, KeyRing, add_key, has_keys
from service.commands.first_key import ensure_key
from service.commands.keys import main as keys


@pytest.mark.parametrize("bootstrap", ["a-known-key", None])
def test_a_start_that_adds_no_key_needs_no_writes(redis: Redis, redis_url: str, bootstrap: str | None) -> None:
    add_key(redis, "a-known-key", "test")
    redis.config_set("maxmemory", 1)
    try:
        ensure_key(redis_url, bootstrap)
    finally:
        redis.config_set("maxmemory", 0)


def test_a_key_is_added_once_redis_accepts_writes(redis: Redis, redis_url: str) -> None:
    redis.config_set("maxmemory", 1)
    starting = threading.Thread(target=ensure_key, args=(redis_url, "a-new-key"))
    try:
        starting.start()
        starting.join(1.0)
        assert starting.is_alive() and redis.hlen("photogram:keys") == 0
    finally:
        redis.config_set("maxmemory", 0)
    starting.join()
    assert redis.hlen("photogram:keys") == 1


def test_a_key_is_created_and_shown_once(redis: Redis, redis_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    created = ensure_key(redis_url, None)
    assert created is not None and has_keys(redis, created)
    assert capsys.readouterr().err == f"API key, shown this once: {created}\n"
    assert ensure_key(redis_url, None) is None and capsys.readouterr().err == ""


def test_a_start_that_is_stopped_does_not_wait_for_redis(redis: Redis, redis_url: str) -> None:
    redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(TimeoutError, match="Redis accepts no writes"):
            ensure_key(redis_url, None, is_hopeless=lambda: True)
    finally:
        redis.config_set("maxmemory", 0)


@pytest.mark.parametrize("chosen", [None, "a-chosen-key"])
async def test_after_the_first_key_is_revoked_an_operator_makes_another_without_one(
    redis: Redis, redis_url: str, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    chosen: str | None,
) -> None:  # fmt: skip
    first = await asyncio.to_thread(ensure_key, redis_url, chosen) or chosen
    assert first is not None
    store = KeyStore(redis)
    store.revoke(store.all()[0].key_id)
    assert await asyncio.to_thread(ensure_key, redis_url, chosen) is None, "a restart must not let anybody in again"
    capsys.readouterr()
    monkeypatch.setenv("REDIS_URL", redis_url)
    assert keys(["--data", str(data), "create", "operator", "--scope", "admin", "--scope", "submit"]) == 0
    made = next(word for word in capsys.readouterr().out.split() if word.startswith("pg_"))
    connection = connect_async(redis_url, "test")
    ring = KeyRing(connection)
    with pytest.raises(KeyRefused, match="has been revoked"):
        await ring.holder(first)
    assert set((await ring.holder(made)).rules.scopes) == {Scope.ADMIN, Scope.SUBMIT}
    await connection.aclose(close_connection_pool=True)

"""The first API key: added or created once, when Redis accepts writes."""

from __future__ import annotations

import threading

import pytest
from redis import Redis

from service.backbone.keys import add_key, has_keys
from service.commands.first_key import ensure_key


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

"""API keys: who may enter, and for how long a key that was deleted still may."""

from __future__ import annotations

import pytest

from service.backbone.connections import connect_async
from service.backbone.keys import KeyRefused, KeyRing, add_key, bootstrap_key, make_key, owner_id


async def test_a_valid_key_is_cached_for_a_while(redis, redis_url):
    connection = connect_async(redis_url, "test")
    good = make_key()
    add_key(redis, good, "me")
    ring = KeyRing(connection)
    assert (await ring.holder(good)).key_id == owner_id(good)
    with pytest.raises(KeyRefused):
        await ring.holder("bad")
    redis.flushall()
    assert (await ring.holder(good)).key_id == owner_id(good)
    with pytest.raises(KeyRefused):
        await KeyRing(connection).holder(good)
    await connection.aclose(close_connection_pool=True)


def test_the_first_key_is_made_once(redis) -> None:
    made = bootstrap_key(redis, None)
    assert made is not None and bootstrap_key(redis, None) is None
    assert bootstrap_key(redis, "chosen") is None
    assert redis.hlen("photogram:keys") == 2

"""The life of API keys: made, found by their secrets, rotated, revoked and deleted; old ones stay valid."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from redis import Redis

from service.backbone import keys
from service.backbone.connections import connect_async
from service.backbone.key_records import KeyRules, Scope
from service.backbone.key_store import WEIGHT_MAX, InvalidKeyRules, KeyInUse, KeyNotFound, KeyStore
from service.backbone.keys import KeyRefused, KeyRing, add_key, bootstrap_key, key_digest, owner_id
from service.backbone.keyspace import API_KEYS_KEY, KEYS_USED_KEY, owner_jobs_key

RULES = KeyRules(name="a key")
OLD_KEY = "an-old-key-of-somebody"


@pytest.fixture
def store(redis: Redis) -> KeyStore:
    return KeyStore(redis)


@pytest.fixture
async def ring(redis: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[KeyRing]:
    """A ring that remembers nothing."""
    monkeypatch.setattr(keys, "_CACHE_TTL_S", -1.0)
    connection = connect_async(redis_url, "test")
    yield KeyRing(connection)
    await connection.aclose(close_connection_pool=True)


async def test_a_new_key_shows_its_id_and_only_its_hash_is_stored(store, ring, redis):
    issued = store.create(RULES)
    assert issued.key.startswith(f"pg_{issued.record.key_id}_") and len(issued.record.key_id) == 8
    assert (await ring.holder(issued.key)) == issued.record == store.get(issued.record.key_id)
    stored = b"".join(part for name in redis.keys("*") for pair in redis.hgetall(name).items() for part in pair)
    assert issued.key.split("_", 2)[2].encode() not in stored


async def test_a_key_of_an_earlier_version_keeps_its_id_and_may_do_everything(store, ring, redis):
    redis.hset(API_KEYS_KEY, key_digest(OLD_KEY), json.dumps({"name": "bootstrap", "created_at": 5.0}))
    found = await ring.holder(OLD_KEY)
    assert (found.key_id, found.owner, found.rules.scopes) == (owner_id(OLD_KEY), owner_id(OLD_KEY), tuple(Scope))
    assert store.all() == [found]
    issued = store.rotate(found.key_id, 0)
    assert (await ring.holder(issued.key)).key_id == found.key_id
    with pytest.raises(KeyRefused, match="replaced by a newer one"):
        await ring.holder(OLD_KEY)


async def test_the_old_secret_works_for_the_grace_time(store, ring):
    first = store.create(RULES)
    second = store.rotate(first.record.key_id, 0.4)
    assert (await ring.holder(first.key)) == (await ring.holder(second.key))
    third = store.rotate(first.record.key_id, 100)
    time.sleep(0.4)
    with pytest.raises(KeyRefused):
        await ring.holder(first.key)
    assert (await ring.holder(second.key)) == (await ring.holder(third.key))


async def test_a_revoked_and_an_expired_key_are_refused(store, ring):
    revoked, expired = store.create(RULES), store.create(replace(RULES, expires_at=time.time() - 1))
    store.revoke(revoked.record.key_id)
    with pytest.raises(KeyRefused, match="has been revoked"):
        await ring.holder(revoked.key)
    with pytest.raises(KeyRefused, match="has expired"):
        await ring.holder(expired.key)


async def test_the_bootstrap_key_is_not_added_again_once_it_was_revoked(store, ring, redis):
    bootstrap_key(redis, OLD_KEY)
    store.revoke(owner_id(OLD_KEY))
    bootstrap_key(redis, OLD_KEY)
    with pytest.raises(KeyRefused):
        await ring.holder(OLD_KEY)


async def test_the_last_use_is_written_once_a_minute(store, ring, redis):
    issued = store.create(RULES)
    assert store.used_at() == {}
    await ring.holder(issued.key)
    first = store.used_at()[issued.record.key_id]
    await ring.holder(issued.key)
    assert store.used_at()[issued.record.key_id] == first
    redis.hset(KEYS_USED_KEY, issued.record.key_id, repr(first - 60))
    await ring.holder(issued.key)
    assert store.used_at()[issued.record.key_id] > first


def test_a_key_is_deleted_once_it_owns_nothing(store, redis):
    key_id = store.create(RULES).record.key_id
    redis.zadd(owner_jobs_key(key_id), {"job": 1})
    with pytest.raises(KeyInUse):
        store.delete(key_id)
    redis.delete(owner_jobs_key(key_id))
    store.delete(key_id)
    assert redis.keys("*") == []
    with pytest.raises(KeyNotFound):
        store.get(key_id)


def test_only_a_key_that_cannot_submit_reads_the_jobs_of_another(store, redis):
    add_key(redis, OLD_KEY, "x")
    reading = replace(RULES, reads=owner_id(OLD_KEY), scopes=(Scope.READ,))
    assert store.create(reading).record.owner == owner_id(OLD_KEY)
    for wrong in (replace(reading, scopes=(Scope.SUBMIT,)), replace(RULES, scopes=())):
        with pytest.raises(InvalidKeyRules):
            store.create(wrong)
    with pytest.raises(InvalidKeyRules, match="reads: there is no API key 'nobody'"):
        store.create(replace(reading, reads="nobody"))


def test_rules_change_and_the_secret_stays(store, redis):
    issued = store.create(RULES)
    changed = store.change(issued.record.key_id, lambda rules: replace(rules, weight=4))
    assert changed.rules == replace(RULES, weight=4) and store.get(issued.record.key_id) == changed
    for wrong in ({"weight": 0}, {"weight": WEIGHT_MAX + 1}, {"name": ""}, {"scopes": ()}, {"reads": "nobody"}):
        with pytest.raises(InvalidKeyRules):
            store.change(issued.record.key_id, lambda rules, wrong=wrong: replace(rules, **wrong))
    with pytest.raises(KeyNotFound):
        store.change("nobody", lambda rules: rules)


def test_a_change_does_not_undo_a_revocation_that_comes_in_between(store):
    key_id = store.create(RULES).record.key_id
    revoked = []

    def change(rules: KeyRules) -> KeyRules:
        if not revoked:
            revoked.append(store.revoke(key_id))
        return replace(rules, weight=2)

    store.change(key_id, change)
    record = store.get(key_id)
    assert record.rules.weight == 2 and record.revoked_at == revoked[0].revoked_at

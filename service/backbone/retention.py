"""The removal of what is kept long enough: results whose time is over, and uploads that nothing used for long.

When a job ends, its script notes in Redis when its results are due, if its key or the server has a rule
(``service/backbone/scripts/record.lua``). What is not noted, such as results of earlier versions and uploads, is judged
by its age. What a job names that has not ended is never removed.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from redis import Redis

from models.jobs.sources import IMAGE, INPUT
from service.backbone.keyspace import (
    KEY_RECORDS_KEY,
    RETENTION_CURSORS_KEY,
    RETENTION_KEY,
    RETENTION_LEASE_KEY,
    owner_queued_key,
    owner_running_key,
    record_key,
)
from service.backbone.objects.opening import FILES, IMAGES, INPUTS, Stores
from service.backbone.objects.protocol import ObjectStore
from service.backbone.settings import Settings
from service.backbone.stored_bytes import StoredBytes

PASS_MAX = 1000
"""How many due results, and how many objects of each store, one pass looks at."""
GRACE_S = 60.0
"""Results outlive the record that names them by so long."""
UNFINISHED_S = 3600.0
"""By how much a result that no record notes must be too old: a job that still runs may have stored it."""
POSTPONED_S = 3600.0
"""After how long a due result is looked at again that a waiting job names."""
LEASE_S = 300
"""The longest time of a pass, while which no other gateway begins one."""


class Retention:
    """Removes what is due; one gateway at a time does so. Its methods block."""

    def __init__(self, connection: Redis, stores: Stores, settings: Settings) -> None:
        self._connection, self._stores, self._settings = connection, stores, settings
        self._token = str(uuid.uuid4())
        self._stored = StoredBytes(connection)

    def sweep(self, now: float | None = None) -> int:
        """Make one pass, unless another gateway makes one; returns how many objects were removed.

        Args:
            now: seconds since the epoch; ``None`` is now.

        Raises:
            StorageUnavailable: a store cannot be used; the next pass goes on where this one stopped.
        """
        if not self._connection.set(RETENTION_LEASE_KEY, self._token, nx=True, ex=LEASE_S):
            return 0
        try:
            return self._pass(self._redis_time() if now is None else now)
        finally:
            if self._connection.get(RETENTION_LEASE_KEY) == self._token.encode():
                self._connection.delete(RETENTION_LEASE_KEY)

    def remove_partial(self, older_than_s: float) -> int:
        """Remove what processes of this machine never completed; returns how many files that were."""
        return sum(store.objects.remove_partial(older_than_s) for store in vars(self._stores).values())

    def _redis_time(self) -> float:
        """The clock by which records expire and the times of results were noted."""
        seconds: Any = self._connection.time()
        return float(seconds[0])

    def _pass(self, now: float) -> int:
        settings = self._settings
        self._stored.recount(self._stores.images, PASS_MAX)
        removed = self._remove_due(now - GRACE_S)
        removed += self._remove_old(INPUTS, now - settings.record_ttl_s - self._stores.inputs.objects.age_error_s)
        if settings.image_ttl_s is not None:
            before = now - settings.image_ttl_s - max(UNFINISHED_S, settings.job_timeout_s)
            removed += self._remove_old(IMAGES, before) + self._remove_old(FILES, before)
        return removed

    def _remove_due(self, until: float) -> int:
        """Remove the results that were due before ``until``."""
        found: Any = self._connection.zrangebyscore(RETENTION_KEY, "-inf", until, start=0, num=PASS_MAX)
        members = [member.decode() for member in found]
        named = self._named() if members else set()
        self._stored.forget([member for member in members if member not in named])
        for member in members:
            if member in named:
                self._connection.zadd(RETENTION_KEY, {member: until + POSTPONED_S}, xx=True)
                continue
            kind, _, name = member.partition("/")
            self._remove(kind, name)
            self._connection.zrem(RETENTION_KEY, member)
        return len(set(members) - named)

    def _remove_old(self, kind: str, before: float) -> int:
        """Remove objects that are older and not noted, from where the last pass stopped."""
        objects = self._objects(kind)
        last: Any = self._connection.hget(RETENTION_CURSORS_KEY, kind)
        page = list(islice(objects.list((last or b"").decode()), PASS_MAX))
        old = self._not_noted(kind, [each.name for each in page if each.modified_at < before])
        self._stored.forget([f"{kind}/{name}" for name in old])
        for name in old:
            self._remove(kind, name)
        self._connection.hset(RETENTION_CURSORS_KEY, kind, page[-1].name if len(page) == PASS_MAX else "")
        return len(old)

    def _not_noted(self, kind: str, names: list[str]) -> list[str]:
        """Those of ``names`` that are noted nowhere: neither with a time of their own, nor by a job that waits."""
        if not names:
            return []
        members = [f"{kind}/{self._original(kind, name)}" for name in names]
        due: Any = self._connection.zmscore(RETENTION_KEY, members)
        named = self._named()
        return [
            name for name, member, at in zip(names, members, due, strict=True) if at is None and member not in named
        ]

    def _named(self) -> set[str]:
        """What the jobs that have not ended start from, as kinds and names of objects."""
        return {place for source in self._sources() if (place := self._place(source)) is not None}

    def _place(self, source: str) -> str | None:
        if source.startswith(INPUT):
            return f"{INPUTS}/{self._stores.inputs.name(source.removeprefix(INPUT))}"
        if source.startswith(IMAGE):
            return f"{IMAGES}/{self._stores.images.name(source.removeprefix(IMAGE))}"
        return None

    def _sources(self) -> Iterator[str]:
        """All texts in the parameters of the jobs that have not ended."""
        owners: Any = self._connection.hkeys(KEY_RECORDS_KEY)
        for owner in owners:
            keys = [owner_queued_key(owner.decode()), owner_running_key(owner.decode())]
            waiting: Any = self._connection.sunion(keys)
            for some in _batches(waiting, PASS_MAX):
                with self._connection.pipeline(transaction=False) as pipeline:
                    for job_id in some:
                        pipeline.hget(record_key(job_id.decode()), "params")
                    yield from (text for params in pipeline.execute() if params for text in _texts(json.loads(params)))

    def _remove(self, kind: str, name: str) -> None:
        """Remove an object, and with an image its conversions."""
        getattr(self._stores, kind).remove_object(name)

    def _original(self, kind: str, name: str) -> str:
        """The name of the object that is noted: a conversion is kept for as long as its image."""
        return self._stores.images.original(name) if kind == IMAGES else name

    def _objects(self, kind: str) -> ObjectStore:
        store: Any = getattr(self._stores, kind)
        objects: ObjectStore = store.objects
        return objects


def _batches(found: Iterable[bytes], size: int) -> Iterator[list[bytes]]:
    left = iter(found)
    while batch := list(islice(left, size)):
        yield batch


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _texts(each)

"""The management of API keys, for administrators: creating, listing, rotating, revoking and deleting them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from redis import Redis
from redis.exceptions import WatchError

from models.catalog.catalog import Catalog
from models.catalog.names import unknown_name
from models.errors import FieldProblem, InvalidFields, PhotogramError, ProblemCode, quoted
from models.jobs.kinds import job_kinds
from service.backbone.allowances import limit_max
from service.backbone.key_records import KeyRecord, KeyRules, Scope, Secret
from service.backbone.keys import key_digest, make_key, make_key_id
from service.backbone.keyspace import (
    API_KEYS_KEY,
    KEY_RECORDS_KEY,
    KEYS_USED_KEY,
    caller_options_key,
    owner_jobs_key,
    preferences_key,
)
from service.backbone.webhooks.endpoints import delete_webhooks


class KeyNotFound(PhotogramError):
    """There is no API key of this id."""


class KeyInUse(PhotogramError):
    """The API key still owns jobs."""


NAME_CHARS_MAX = 200
WEIGHT_MAX = 1000


class InvalidKeyRules(InvalidFields):
    """Rules of a key are wrong, or contradict each other."""


@dataclass(frozen=True)
class IssuedKey:
    """A key and its new secret, which nobody can read again."""

    record: KeyRecord
    key: str


def require_known(rules: KeyRules, catalog: Catalog) -> None:
    """Raise :class:`InvalidKeyRules` if the rules name a kind that there is not, or no model or vision model."""
    kinds, models = [kind.name for kind in job_kinds()], [*catalog, *catalog.vision]
    problems = [
        FieldProblem.of(field, unknown_name(what, name, known))
        for field, what, names, known in (
            ("kinds", "kind", rules.kinds, kinds),
            ("models", "model", rules.models, models),
        )
        for name in names
        if name not in known
    ]
    if problems:
        raise InvalidKeyRules(problems)


def _own_problems(rules: KeyRules) -> Iterator[FieldProblem]:
    """What is wrong with the rules, whatever keys, kinds and models there are."""
    if not rules.name.strip() or not rules.name.isprintable() or len(rules.name) > NAME_CHARS_MAX:
        yield FieldProblem("name", f"must be a line of 1 to {NAME_CHARS_MAX} printable characters")
    if not rules.scopes:
        yield FieldProblem("scopes", "a key needs at least one", ProblemCode.REQUIRED)
    if not 1 <= rules.weight <= WEIGHT_MAX:
        yield _out_of_range("weight", 1, WEIGHT_MAX)
    for name, limit in vars(rules.allowance).items():
        if limit is not None and not 0 <= limit <= limit_max(name):
            yield _out_of_range(f"limits.{name}", 0, limit_max(name))


def _out_of_range(field: str, low: int, high: int) -> FieldProblem:
    return FieldProblem(field, f"must be {low} to {high}", ProblemCode.OUT_OF_RANGE, low, high)


class KeyStore:
    """The keys of one server; its methods block, and are safe to use from several threads."""

    def __init__(self, connection: Redis) -> None:
        self._connection = connection

    def create(self, rules: KeyRules) -> IssuedKey:
        """A new key with these rules; raises :class:`InvalidKeyRules`."""
        self._check(rules)
        while True:
            record = KeyRecord(key_id=make_key_id(), rules=rules, created_at=time.time())
            if self._connection.hsetnx(KEY_RECORDS_KEY, record.key_id, record.to_json()):
                break
        issued = IssuedKey(record, make_key(record.key_id))
        self._connection.hset(API_KEYS_KEY, key_digest(issued.key), Secret(record.key_id).to_json())
        return issued

    def change(self, key_id: str, change: Callable[[KeyRules], KeyRules]) -> KeyRecord:
        """Give the key the rules that ``change`` makes of its own.

        Raises:
            InvalidKeyRules: as :meth:`create`.
            KeyNotFound: there is no such key.
        """

        def changed(record: KeyRecord) -> KeyRecord:
            rules = change(record.rules)
            self._check(rules)
            return replace(record, rules=rules)

        return self._rewrite(key_id, changed)

    def _check(self, rules: KeyRules) -> None:
        problems = [*_own_problems(rules), *self._problems_of_reads(rules)]
        if problems:
            raise InvalidKeyRules(problems)

    def _problems_of_reads(self, rules: KeyRules) -> Iterator[FieldProblem]:
        if rules.reads is None:
            return
        if Scope.SUBMIT in rules.scopes:
            message = "a key that reads the jobs of another key cannot have the scope submit"
            yield FieldProblem("reads", message, ProblemCode.CONFLICT)
        try:
            self.get(rules.reads)
        except KeyNotFound as error:
            yield FieldProblem("reads", str(error), ProblemCode.UNKNOWN_NAME)

    def _rewrite(self, key_id: str, change: Callable[[KeyRecord], KeyRecord]) -> KeyRecord:
        """Store what ``change`` makes of the record, which nobody changes in between."""
        with self._connection.pipeline() as transaction:
            while True:
                transaction.watch(KEY_RECORDS_KEY)
                record = change(self.get(key_id))
                transaction.multi()
                transaction.hset(KEY_RECORDS_KEY, key_id, record.to_json())
                with suppress(WatchError):
                    transaction.execute()
                    return record

    def all(self) -> list[KeyRecord]:
        """Every key, the oldest first."""
        with self._connection.pipeline() as pipeline:
            pipeline.hgetall(KEY_RECORDS_KEY)
            pipeline.hgetall(API_KEYS_KEY)
            records, found = pipeline.execute()
        known = {record.key_id: record for record in map(KeyRecord.from_json, records.values())}
        for secret in (Secret.from_json(digest.decode(), text) for digest, text in found.items()):
            if secret.original is not None:
                known.setdefault(secret.key_id, secret.original)
        return sorted(known.values(), key=lambda record: record.created_at)

    def get(self, key_id: str) -> KeyRecord:
        """The key of that id; raises :class:`KeyNotFound`."""
        stored: Any = self._connection.hget(KEY_RECORDS_KEY, key_id)
        if stored is not None:
            return KeyRecord.from_json(stored)
        original = next((secret.original for secret in self._secrets(key_id).values() if secret.original), None)
        if original is None:
            raise KeyNotFound(f"there is no API key {quoted(key_id)}")
        return original

    def used_at(self) -> dict[str, float]:
        """When each key was last used, to the minute, in seconds since the epoch; those never used are missing."""
        found: Any = self._connection.hgetall(KEYS_USED_KEY)
        return {key_id.decode(): float(at) for key_id, at in found.items()}

    def rotate(self, key_id: str, grace_s: float) -> IssuedKey:
        """Give the key a new secret; the old one ends after ``grace_s``. Raises :class:`KeyNotFound`."""
        record = self.get(key_id)
        issued, ends_at = IssuedKey(record, make_key(key_id)), time.time() + grace_s
        with self._connection.pipeline() as transaction:
            for digest, secret in self._secrets(key_id).items():
                # Replaced secrets stay known, so that a start with an old bootstrap key does not add it again.
                until = ends_at if secret.until is None else min(secret.until, ends_at)
                transaction.hset(API_KEYS_KEY, digest, Secret(key_id, until).to_json())
            transaction.hset(API_KEYS_KEY, key_digest(issued.key), Secret(key_id).to_json())
            transaction.hset(KEY_RECORDS_KEY, key_id, record.to_json())
            transaction.execute()
        return issued

    def revoke(self, key_id: str) -> KeyRecord:
        """Refuse the key from now on; what it owns stays. Raises :class:`KeyNotFound`."""
        return self._rewrite(key_id, lambda record: replace(record, revoked_at=record.revoked_at or time.time()))

    def delete(self, key_id: str) -> None:
        """Remove the key, its preferences and its webhooks.

        Raises:
            KeyNotFound: there is no such key.
            KeyInUse: it owns jobs.
        """
        self.get(key_id)
        if self._connection.zcard(owner_jobs_key(key_id)):
            raise KeyInUse(f"the API key {key_id!r} still owns jobs, which must be deleted first")
        with self._connection.pipeline() as transaction:
            transaction.hdel(API_KEYS_KEY, *self._secrets(key_id))
            transaction.hdel(KEY_RECORDS_KEY, key_id)
            transaction.hdel(KEYS_USED_KEY, key_id)
            transaction.delete(preferences_key(key_id), caller_options_key(key_id))
            transaction.execute()
        delete_webhooks(self._connection, key_id)

    def _secrets(self, key_id: str) -> dict[str, Secret]:
        """The secrets of the key by their hashes."""
        found: Any = self._connection.hgetall(API_KEYS_KEY)
        secrets = {digest.decode(): Secret.from_json(digest.decode(), text) for digest, text in found.items()}
        return {digest: secret for digest, secret in secrets.items() if secret.key_id == key_id}

"""What is known of an API key besides its secret: whose it is, what it may do, and when."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from service.backbone.allowances import NO_LIMITS, Allowance


class Scope(StrEnum):
    """What a key may do. Every valid key may read the listings and its own jobs."""

    SUBMIT = "submit"
    """Submit and cancel jobs, upload images, use the language engine, and change the preferences of the key."""
    READ = "read"
    """Only read."""
    ADMIN = "admin"
    """Manage keys, and list and delete their jobs."""


@dataclass(frozen=True, kw_only=True)
class KeyRules:
    """What the administrator decided about a key."""

    name: str
    scopes: tuple[Scope, ...] = (Scope.SUBMIT,)
    expires_at: float | None = None
    """In seconds since the epoch; ``None`` is never."""
    reads: str | None = None
    """The id of the key whose jobs this key reads; ``None`` is itself. Only for a key that cannot submit."""
    models: tuple[str, ...] = ()
    """The models that its jobs may use, by their names in the catalog; none is any."""
    kinds: tuple[str, ...] = ()
    """The kinds of jobs that it may submit; none is any."""
    max_priority: int | None = None
    """The highest priority of its jobs; ``None`` is any."""
    weight: int = 1
    """Its share of the workers, compared with those of other keys whose jobs wait."""
    retention_s: int | None = None
    """For how long its jobs and their results are kept; ``None`` is as long as the server keeps others."""
    provenance: str | None = None
    """The least that its images must carry, one of ``models.jobs.params.PROVENANCE``; ``None`` is what the server's
    setting says."""
    safety: str | None = None
    """The safety policy of its jobs, one of ``models.jobs.safety.SAFETY``; ``None`` is the server's."""
    webhooks: bool = True
    """Whether it may have webhooks."""
    allowance: Allowance = field(default=NO_LIMITS)
    """Its limits."""


@dataclass(frozen=True, kw_only=True)
class KeyRecord:
    """An API key, without its secret."""

    key_id: str
    """The visible id, which is the owner of the key's jobs."""
    rules: KeyRules
    created_at: float
    revoked_at: float | None = None

    @property
    def owner(self) -> str:
        """The owner of the jobs that the key may read."""
        return self.rules.reads or self.key_id

    def problem(self, now: float) -> str | None:
        """Why the key is not accepted, or ``None``; it completes a sentence that begins with the key."""
        if self.revoked_at is not None:
            return "has been revoked"
        if self.rules.expires_at is not None and self.rules.expires_at <= now:
            return "has expired"
        return None

    def to_json(self) -> str:
        """The text in Redis."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: bytes) -> KeyRecord:
        """The record in a text that :meth:`to_json` made."""
        payload: dict[str, Any] = json.loads(text)
        rules = payload.pop("rules")
        rules["scopes"] = tuple(Scope(scope) for scope in rules["scopes"])
        rules |= {name: tuple(rules[name]) for name in ("models", "kinds")}
        rules["allowance"] = Allowance(**rules["allowance"])
        return cls(rules=KeyRules(**rules), **payload)


@dataclass(frozen=True)
class Secret:
    """One secret of a key as it is stored, under its SHA-256; a key has several for a while after a rotation."""

    key_id: str
    until: float | None = None
    """When it ends, in seconds since the epoch, because another one took its place; ``None`` while it is the newest."""
    original: KeyRecord | None = None
    """The record of a key that a version without records of keys stored, in place of one."""

    def to_json(self) -> str:
        """The text in Redis."""
        return json.dumps({"id": self.key_id, "until": self.until})

    @classmethod
    def from_json(cls, digest: str, text: bytes) -> Secret:
        """The secret with the SHA-256 ``digest``, from the text in Redis."""
        payload: dict[str, Any] = json.loads(text)
        if "id" in payload:
            return cls(payload["id"], payload["until"])
        key_id = digest[:OWNER_ID_CHARS]
        return cls(key_id, original=full_record(key_id, payload["name"], payload["created_at"]))


OWNER_ID_CHARS = 16
"""A key whose secret somebody chose has so many hex digits of its SHA-256 as its id."""


def full_record(key_id: str, name: str, created_at: float) -> KeyRecord:
    """The record of a key that may do everything."""
    return KeyRecord(key_id=key_id, rules=KeyRules(name=name, scopes=tuple(Scope)), created_at=created_at)

"""The pydantic models of the routes that manage API keys."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from models.jobs.kinds import job_kinds
from service.api.validation import StrictBody
from service.backbone.allowances import NO_LIMITS, Allowance
from service.backbone.key_records import KeyRecord, KeyRules, Scope
from service.backbone.key_store import DURATION_MAX_S, NAME_CHARS_MAX, InvalidKeyRules

_Limit = Annotated[int | None, Field(ge=0, le=10**12)]
_LIMIT = "0 is no limit, null that of the server."


class LimitsBody(StrictBody):
    """The limits of a key."""

    requests_per_minute: _Limit = Field(None, description=f"Requests that submit jobs. {_LIMIT}")
    max_in_flight: _Limit = Field(None, description=f"Jobs that have not ended. {_LIMIT}")
    max_queued: _Limit = Field(None, description=f"Jobs that wait. {_LIMIT}")
    units_per_day: _Limit = Field(None, description=f"Megapixel-steps a day, in UTC. {_LIMIT}")
    units_per_month: _Limit = Field(None, description=f"Megapixel-steps a month, in UTC. {_LIMIT}")


class KeyBody(StrictBody):
    """A new API key."""

    name: str = Field(min_length=1, max_length=NAME_CHARS_MAX)
    scopes: list[Literal["submit", "read", "admin"]] = Field(["submit"], min_length=1, max_length=3)
    expires_in_s: int | None = Field(None, ge=1, le=DURATION_MAX_S, description="Null is never.")
    reads: str | None = Field(None, max_length=64, description="The id of the key whose jobs this key reads.")
    models: list[str] = Field([], max_length=100, description="The models that its jobs may use; none is any.")
    kinds: list[str] = Field([], max_length=100, description="The kinds of jobs that it may submit; none is any.")
    max_priority: int | None = Field(None, ge=-2, le=2, description="The highest priority of its jobs.")
    retention_s: int | None = Field(None, ge=1, le=DURATION_MAX_S, description="Stored; nothing acts on it yet.")
    enhance_prompt: bool | None = Field(None, description="The preference of this name, for jobs that leave it out.")
    limits: LimitsBody | None = None

    def rules(self, now: float) -> KeyRules:
        """The rules of the key; raises :class:`InvalidKeyRules` if there is no such kind."""
        known = [kind.name for kind in job_kinds()]
        for kind in self.kinds:
            if kind not in known:
                raise InvalidKeyRules(f"kinds: there is no kind {kind!r}; there are {', '.join(known)}")
        return KeyRules(
            name=self.name,
            scopes=tuple(dict.fromkeys(Scope(scope) for scope in self.scopes)),
            expires_at=None if self.expires_in_s is None else now + self.expires_in_s,
            reads=self.reads,
            models=tuple(self.models),
            kinds=tuple(self.kinds),
            max_priority=self.max_priority,
            retention_s=self.retention_s,
            allowance=Allowance(**self.limits.model_dump()) if self.limits else NO_LIMITS,
        )


class RotateBody(StrictBody):
    """How a key is rotated."""

    grace_s: int = Field(0, ge=0, le=DURATION_MAX_S, description="For how many seconds the old secret works.")


class KeyLimitsView(BaseModel):
    """The limits of a key: 0 is no limit, null that of the server."""

    requests_per_minute: int | None
    max_in_flight: int | None
    max_queued: int | None
    units_per_day: int | None
    units_per_month: int | None


class KeyView(BaseModel):
    """An API key, without its secret."""

    id: str
    name: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None = Field(description="To the minute.")
    reads: str | None
    models: list[str]
    kinds: list[str]
    max_priority: int | None
    retention_s: int | None
    limits: KeyLimitsView


class IssuedKeyView(KeyView):
    """An API key with its secret, which is shown this once."""

    key: str


class KeyList(BaseModel):
    """All API keys, the oldest first."""

    keys: list[KeyView]


def key_view(record: KeyRecord, used_at: float | None) -> KeyView:
    rules = record.rules
    return KeyView(
        id=record.key_id,
        name=rules.name,
        scopes=[scope.value for scope in rules.scopes],
        created_at=datetime.fromtimestamp(record.created_at, UTC),
        expires_at=_time(rules.expires_at),
        revoked_at=_time(record.revoked_at),
        last_used_at=_time(used_at),
        reads=rules.reads,
        models=list(rules.models),
        kinds=list(rules.kinds),
        max_priority=rules.max_priority,
        retention_s=rules.retention_s,
        limits=KeyLimitsView(**vars(rules.allowance)),
    )


def issued_view(key: str, view: KeyView) -> IssuedKeyView:
    return IssuedKeyView(key=key, **dict(view))


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)

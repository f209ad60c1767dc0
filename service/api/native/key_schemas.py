"""The pydantic models of the routes that manage API keys."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from service.api.validation import StrictBody
from service.backbone.allowances import limit_max
from service.backbone.key_records import KeyRecord, KeyRules, Scope
from service.backbone.key_store import NAME_CHARS_MAX, WEIGHT_MAX
from service.backbone.setting_values import DURATION_MAX_S

_Limit = Annotated[int | None, Field(ge=0, le=limit_max("max_in_flight"))]
_LimitOfBytes = Annotated[int | None, Field(ge=0, le=limit_max("stored_bytes"))]
_LIMIT = "0 is no limit, null that of the server."
_PROVENANCE = "The least that its images must carry; null is what the server marks."

_SAFETY = "What happens to images that are scored as unsafe; null is as the server's setting says."


class LimitsBody(StrictBody):
    """The limits of a key."""

    requests_per_minute: _Limit = Field(None, description=f"Requests that submit jobs. {_LIMIT}")
    max_in_flight: _Limit = Field(None, description=f"Jobs that have not ended. {_LIMIT}")
    max_queued: _Limit = Field(None, description=f"Jobs that wait. {_LIMIT}")
    units_per_day: _Limit = Field(None, description=f"Megapixel-steps a day, in UTC. {_LIMIT}")
    units_per_month: _Limit = Field(None, description=f"Megapixel-steps a month, in UTC. {_LIMIT}")
    stored_bytes: _LimitOfBytes = Field(None, description=f"Bytes of images and files that are stored. {_LIMIT}")


class KeyChanges(StrictBody):
    """What changes about an API key; what is left out stays."""

    name: str = Field("", min_length=1, max_length=NAME_CHARS_MAX)
    scopes: list[Literal["submit", "read", "admin"]] = Field(["submit"], min_length=1, max_length=3)
    expires_in_s: int | None = Field(None, ge=1, le=DURATION_MAX_S, description="Null is never.")
    reads: str | None = Field(None, max_length=64, description="The id of the key whose jobs this key reads.")
    models: list[str] = Field([], max_length=100, description="The models that its jobs may use; none is any.")
    kinds: list[str] = Field([], max_length=100, description="The kinds of jobs that it may submit; none is any.")
    max_priority: int | None = Field(None, ge=-2, le=2, description="The highest priority of its jobs.")
    weight: int = Field(1, ge=1, le=WEIGHT_MAX, description="Its share of the workers, compared with other keys.")
    retention_s: int | None = Field(
        None, ge=1, le=DURATION_MAX_S, description="How long its jobs and their results are kept."
    )
    provenance: Literal["none", "iptc", "c2pa", "watermark"] | None = Field(None, description=_PROVENANCE)
    safety: Literal["off", "tag", "blur", "refuse"] | None = Field(None, description=_SAFETY)
    webhooks: bool = Field(True, description="Whether it may have webhooks.")
    limits: LimitsBody | None = None

    def applied_to(self, rules: KeyRules, now: float) -> KeyRules:
        """``rules`` with what was sent; of the limits too, those that were left out stay."""
        sent = {name: getattr(self, name) for name in self.model_fields_set & _SAME_IN_RULES}
        sent |= {name: tuple(sent[name]) for name in ("models", "kinds") if name in sent}
        if "scopes" in self.model_fields_set:
            sent["scopes"] = tuple(dict.fromkeys(Scope(scope) for scope in self.scopes))
        if "expires_in_s" in self.model_fields_set:
            sent["expires_at"] = None if self.expires_in_s is None else now + self.expires_in_s
        if self.limits is not None:
            sent["allowance"] = replace(rules.allowance, **self.limits.model_dump(exclude_unset=True))
        return replace(rules, **sent)


class KeyBody(KeyChanges):
    """A new API key."""

    name: str = Field(min_length=1, max_length=NAME_CHARS_MAX)
    enhance_prompt: bool | None = Field(None, description="The preference of this name, for jobs that leave it out.")


_SAME_IN_RULES = {
    "name", "reads", "models", "kinds", "max_priority", "weight", "retention_s", "provenance", "safety",
    "webhooks",
}  # fmt: skip


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
    stored_bytes: int | None


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
    weight: int
    retention_s: int | None
    provenance: str | None = Field(description=_PROVENANCE)
    safety: str | None = Field(description=_SAFETY)
    webhooks: bool
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
        weight=rules.weight,
        retention_s=rules.retention_s,
        provenance=rules.provenance,
        safety=rules.safety,
        webhooks=rules.webhooks,
        limits=KeyLimitsView(**vars(rules.allowance)),
    )


def issued_view(key: str, view: KeyView) -> IssuedKeyView:
    return IssuedKeyView(key=key, **dict(view))


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)

"""The API keys of a server, as those with the scope `admin` see them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypedDict

from ._models import Payload


class KeyRules(TypedDict, total=False):
    """What a key may do; what is left out is the server's default for a new key, and stays for one that is changed."""

    name: str
    """What the key is for."""
    scopes: Sequence[str]
    """Of `submit`, `read` and `admin`; `submit` by default."""
    expires_in_s: int | None
    """None is never."""
    reads: str | None
    """The id of the key whose jobs this key reads."""
    models: Sequence[str]
    """The models that its jobs may use; none is any."""
    kinds: Sequence[str]
    """The kinds of jobs that it may submit; none is any."""
    max_priority: int | None
    """The highest priority of its jobs, -2 to 2."""
    weight: int
    """Its share of the workers, compared with other keys."""
    retention_s: int | None
    """How long its jobs and their results are kept."""
    provenance: str | None
    """The least that its images must carry; None is what the server marks."""
    safety: str | None
    """What happens to images that are scored as unsafe: `off`, `tag`, `blur`, `refuse`; None is as the server says."""
    webhooks: bool
    """Whether it may have webhooks."""
    limits: Mapping[str, int | None]
    """`requests_per_minute`, `max_in_flight`, `max_queued`, `units_per_day`, `units_per_month`, `stored_bytes`: 0 is
    none, None that of the server."""


class NewKey(KeyRules, total=False):
    """A new key."""

    enhance_prompt: bool | None
    """Whether prompts are rewritten if a job does not say."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key; `secret` is what requests send, and is only in the answer that made it."""

    id: str
    name: str
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    rules: Payload = field(hash=False)
    """What the key may do, by the names of `KeyRules`."""
    secret: str | None = field(default=None, repr=False)

    @classmethod
    def from_payload(cls, payload: Payload) -> "ApiKey":
        names = (
            "reads",
            "models",
            "kinds",
            "max_priority",
            "weight",
            "retention_s",
            "provenance",
            "safety",
            "webhooks",
            "limits",
        )
        return cls(
            id=str(payload["id"]),
            name=str(payload["name"]),
            scopes=tuple(payload["scopes"]),
            created_at=datetime.fromisoformat(payload["created_at"]),
            expires_at=_moment(payload["expires_at"]),
            revoked_at=_moment(payload["revoked_at"]),
            last_used_at=_moment(payload["last_used_at"]),
            rules={name: payload[name] for name in names if name in payload},
            secret=payload.get("key"),
        )


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)

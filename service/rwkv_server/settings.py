"""The limits of one server."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Requests beyond these limits are refused; nothing is truncated."""

    body_bytes: int = 1 << 20
    prompt_tokens: int = 8192
    completion_tokens: int = 4096
    waiting: int = 256
    """How many requests may be queued in addition to those that are running."""

"""How much one server takes on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What is refused beyond; nothing is cut short in silence."""

    body_bytes: int = 1 << 20
    prompt_tokens: int = 8192
    completion_tokens: int = 4096
    waiting: int = 256
    """Requests that may wait beside those that are written."""

"""The safety policy: what happens to images that a classifier scores as unsafe, and what a record says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

OFF, TAG, BLUR, REFUSE = "off", "tag", "blur", "refuse"
SAFETY = (OFF, TAG, BLUR, REFUSE)
"""What is done: nothing, scores in the record, unsafe images blurred, or jobs with unsafe images failed.

An unsafe image that a job starts from fails the job under ``blur`` as under ``refuse``.
"""
CLOSED, OPEN = "closed", "open"
FAILS = (CLOSED, OPEN)
"""What becomes of a job whose images cannot be scored: it fails, or goes on without scores."""


@dataclass(frozen=True, kw_only=True)
class SafetyResult:
    """What was found in the images that a job made."""

    policy: str
    """One of ``SAFETY``."""
    classifier: str
    scores: tuple[float, ...] = ()
    """For each image how probably it is unsafe, 0 to 1; empty if they could not be scored."""
    flagged: tuple[bool, ...] = ()
    """For each image whether its score is at or above the server's threshold."""
    problem: str | None = None
    """Why the images could not be scored."""

    def to_payload(self) -> dict[str, Any]:
        """JSON-ready values."""
        return asdict(self)

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any]) -> SafetyResult:
        """The result that :meth:`to_payload` wrote."""
        return cls(**{**payload, "scores": tuple(payload["scores"]), "flagged": tuple(payload["flagged"])})

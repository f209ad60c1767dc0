"""What became of a prompt that was to be rewritten."""

from __future__ import annotations

from dataclasses import dataclass, replace

from models.jobs.params import DrawParams
from models.jobs.payload import Payload

APPLIED = "applied"
SKIPPED = "skipped"
"""There was nothing to add: the prompt is long already, or says all that its model understands."""
TIMEOUT = "timeout"
UNAVAILABLE = "unavailable"
"""The language engine is off, away, or failed too often a moment ago."""
REFUSED = "refused"
"""What the language model wrote was not fit for use."""
STATUSES = (APPLIED, SKIPPED, TIMEOUT, UNAVAILABLE, REFUSED)


@dataclass(frozen=True, kw_only=True)
class Rewrite(Payload):
    """The outcome of one attempt; whatever it is, there is a prompt to draw."""

    status: str
    """One of :data:`STATUSES`."""
    revised_prompt: str | None = None
    """What is drawn instead of the prompt; only if applied."""
    revised_negative_prompt: str | None = None
    """The same for the negative prompt, if one was asked for."""
    engine: str | None = None
    """The language model, as its server calls it."""
    template: str | None = None
    """Name and version of the instructions that it was given, as ``tags-1``."""
    elapsed_s: float = 0.0
    reason: str | None = None
    """Why it was not applied, in words."""

    def applied_to(self, params: DrawParams) -> DrawParams:
        """What is really drawn: ``params`` with what was rewritten in its place, and nothing more to be rewritten."""
        return replace(
            params,
            prompt=self.revised_prompt or params.prompt,
            negative_prompt=self.revised_negative_prompt or params.negative_prompt,
            enhance_prompt=False,
            enhance_negative_prompt=False,
        )

"""The outcome of rewriting the prompt of a job."""

from __future__ import annotations

from dataclasses import dataclass, replace

from models.jobs.params import DrawParams
from models.jobs.payload import Payload

APPLIED = "applied"
SKIPPED = "skipped"
"""There was nothing to add: the prompt is long already, or says all that its image model understands."""
TIMEOUT = "timeout"
UNAVAILABLE = "unavailable"
"""The language engine is disabled or cannot be reached, or the circuit breaker is open."""
REFUSED = "refused"
"""The text of the language model was not usable."""
STATUSES = (APPLIED, SKIPPED, TIMEOUT, UNAVAILABLE, REFUSED)


@dataclass(frozen=True, kw_only=True)
class Rewrite(Payload):
    """The outcome of one attempt to rewrite a prompt; the job continues in every case."""

    status: str
    """One of :data:`STATUSES`."""
    revised_prompt: str | None = None
    """The prompt that replaces the original one; only if the rewrite was applied."""
    revised_negative_prompt: str | None = None
    """The same for the negative prompt, if a rewrite of it was requested."""
    engine: str | None = None
    """The name of the language model on its server."""
    template: str | None = None
    """The name and version of the instructions, for example ``tags-1``."""
    elapsed_s: float = 0.0
    reason: str | None = None
    """Why it was not applied, as text for people."""

    def applied_to(self, params: DrawParams) -> DrawParams:
        """``params`` with the rewritten prompts, and with rewriting turned off."""
        return replace(
            params,
            prompt=self.revised_prompt or params.prompt,
            negative_prompt=self.revised_negative_prompt or params.negative_prompt,
            enhance_prompt=False,
            enhance_negative_prompt=False,
        )

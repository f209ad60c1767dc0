"""What a profile consists of."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

GUIDED_MAX = 192
"""Tokens for an answer from given phrases: a small model may write them letter by letter."""


@dataclass(frozen=True, kw_only=True)
class Template:
    """What the language model reads before the user's words, and how much it may write.

    What all requests share is read once, but by whole pages: of those for the small model that comes along, the last
    page is full, or nearly nothing would be left to share of it.
    """

    system: str
    examples: tuple[tuple[str, str], ...]
    """The user's words, and the answer: for a continuation without those words."""
    is_continuation: bool = True
    """Whether the answer goes on from the user's own words, so that it cannot lose them."""
    tokens_max: int = 64
    begins: str = ""
    """What a continuation begins with in any case: it is given, so that the next token is already the choice."""

    def messages(self, said: str) -> list[dict[str, Any]]:
        """The whole conversation; the last message is what the answer continues or answers."""
        messages = [{"role": "system", "content": self.system}]
        for asked, answered in self.examples:
            messages += self._turn(asked, asked + answered if self.is_continuation else answered)
        return messages + self._turn(said, said + self.begins if self.is_continuation else None)

    def _turn(self, asked: str, answered: str | None) -> list[dict[str, Any]]:
        answer = [] if answered is None else [{"role": "assistant", "content": answered}]
        return [{"role": "user", "content": asked}, *answer]


@dataclass(frozen=True, kw_only=True)
class Slot:
    """One choice in an answer that is put together from given phrases."""

    phrases: tuple[str, ...]
    """Letters, spaces and hyphens."""
    lead: str = ", "
    """What separates it from what comes before."""
    tail: str = ""
    """What belongs to each phrase and is not worth asking for."""
    unless: str = r"(?!)"
    """A pattern of the user's words that say this already."""

    def narrowed(self, said: str, allows: Callable[[str, str], bool]) -> Slot | None:
        """The slot with the phrases that go with the user's words; ``None`` if there are none."""
        if re.search(self.unless, said, re.IGNORECASE):
            return None
        phrases = tuple(phrase for phrase in self.phrases if allows(said, phrase))
        return replace(self, phrases=phrases) if phrases else None

    def text(self, phrase: str) -> str:
        """``phrase`` with what stands before and behind it; the article fits."""
        lead = f"{self.lead[:-1]}n " if self.lead.endswith(" a ") and phrase[0] in "aeio" else self.lead
        return lead + phrase + self.tail

    @property
    def regex(self) -> str:
        """All that may stand here, the phrase being a group."""
        return self.lead.replace(".", r"\.") + f"({'|'.join(self.phrases)})"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One sort of thing that a prompt may be about, and what suits it."""

    slots: tuple[Slot, ...]
    negatives: tuple[str, ...] = ()
    """The phrases of its negative prompt, each but the first with the comma before it."""


@dataclass(frozen=True, kw_only=True)
class Profile:
    """How prompts for one sort of image model are rewritten."""

    name: str
    version: int
    """Raised with every change of instructions, examples or phrases: rewritten prompts are kept under it."""
    free: Template
    """For language models that write well."""
    kinds: Mapping[str, Kind]
    """By what the small model calls them, to choose from first."""
    kind: Template
    guided: Template | None = None
    """For small ones, which only choose; ``None``: a kind's phrases are equally good, and the prompt draws the lot."""
    negative: Template | None = None
    """For language models that write well; ``None`` if negative prompts are no use here."""
    free_slots: tuple[Slot, ...] = ()
    """What even language models that write well have to choose from; empty lets them write."""
    skips: Callable[[str], str | None] = lambda said: None
    """Why there is nothing to add to these words; ``None`` if there is."""
    allows: Callable[[str, str], bool] = lambda said, phrase: True
    """Whether a phrase goes with the user's words."""

    @property
    def template(self) -> str:
        """Name and version."""
        return f"{self.name}-{self.version}"

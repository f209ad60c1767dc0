"""The parts of a profile."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

GUIDED_MAX = 192
"""The token limit for an answer of given phrases; a small model may write them letter by letter."""


@dataclass(frozen=True, kw_only=True)
class Template:
    """The instructions and examples before the user's text, and the token limit of the answer.

    The engine caches the common prefix of all requests, but only in whole blocks. The templates for the built-in small
    model fill their last block, so that almost the whole prefix is cached.
    """

    system: str
    examples: tuple[tuple[str, str], ...]
    """Pairs of the user's text and the answer; the answer of a continuation does not repeat the text."""
    is_continuation: bool = True
    """Whether the answer continues the user's text, so that the text cannot get lost."""
    tokens_max: int = 64
    begins: str = ""
    """The fixed beginning of a continuation, part of the request: the first generated token is then the choice."""

    def messages(self, user_text: str) -> list[dict[str, Any]]:
        """The messages of the request; the answer continues or answers the last one."""
        messages = [{"role": "system", "content": self.system}]
        for request, answer_text in self.examples:
            messages += self._turn(request, request + answer_text if self.is_continuation else answer_text)
        return messages + self._turn(user_text, user_text + self.begins if self.is_continuation else None)

    def _turn(self, request: str, answer_text: str | None) -> list[dict[str, Any]]:
        answer = [] if answer_text is None else [{"role": "assistant", "content": answer_text}]
        return [{"role": "user", "content": request}, *answer]


@dataclass(frozen=True, kw_only=True)
class PhraseChoice:
    """One choice in an answer that consists of given phrases."""

    phrases: tuple[str, ...]
    """Letters, spaces and hyphens."""
    prefix: str = ", "
    """The separator before the phrase."""
    suffix: str = ""
    """Text after each phrase, which the model need not write."""
    redundant_if: str = r"(?!)"
    """A pattern of user text that makes this choice redundant."""

    def remaining(self, user_text: str, allows: Callable[[str, str], bool]) -> PhraseChoice | None:
        """The choice with only the phrases that fit ``user_text``; ``None`` if it is redundant or no phrase fits."""
        if re.search(self.redundant_if, user_text, re.IGNORECASE):
            return None
        phrases = tuple(phrase for phrase in self.phrases if allows(user_text, phrase))
        return replace(self, phrases=phrases) if phrases else None

    def text(self, phrase: str) -> str:
        """``phrase`` with prefix and suffix, and with the right article."""
        prefix = f"{self.prefix[:-1]}n " if self.prefix.endswith(" a ") and phrase[0] in "aeio" else self.prefix
        return prefix + phrase + self.suffix

    @property
    def regex(self) -> str:
        """A pattern of all possible texts; the phrase is a group."""
        return self.prefix.replace(".", r"\.") + f"({'|'.join(self.phrases)})"


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One subject of prompts, and the phrases that fit it."""

    choices: tuple[PhraseChoice, ...]
    negatives: tuple[str, ...] = ()
    """The phrases of its negative prompt; all but the first begin with a comma."""


@dataclass(frozen=True, kw_only=True)
class Profile:
    """How prompts for one type of image model are rewritten."""

    name: str
    version: int
    """Must increase with every change of instructions, examples or phrases, because it is part of the cache key."""
    free: Template
    """The template for language models that write well."""
    subjects: Mapping[str, Subject]
    """By the name that a small model chooses first."""
    subject: Template
    """The template of that choice."""
    guided: Template | None = None
    """The template for small models, which only choose phrases; ``None`` lets a hash of the prompt choose."""
    negative: Template | None = None
    """The template of negative prompts for models that write well; ``None`` if the image model has no use for them."""
    free_choices: tuple[PhraseChoice, ...] = ()
    """Choices for language models that write well too; if empty, they write freely."""
    skips: Callable[[str], str | None] = lambda user_text: None
    """The reason why a prompt needs no addition, or ``None``."""
    allows: Callable[[str, str], bool] = lambda user_text, phrase: True
    """Whether a phrase fits the user's text."""

    @property
    def template(self) -> str:
        """Name and version, as recorded in outcomes."""
        return f"{self.name}-{self.version}"

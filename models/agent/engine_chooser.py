"""Asks a language engine to choose one of several texts, or for a phrase, held to a grammar."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Any

from models.agent.choosing import NoChoice
from models.language.client import LanguageEngine
from models.language.errors import LanguageError

SYSTEM = "You help to plan images. Answer with one short line, and nothing else."
ANSWER_TIMEOUT_S = 30.0
TOTAL_S = 120.0
"""For all questions together; then every further one is left to the rules."""
_CHARS_PER_TOKEN = 3
_PHRASE_CHARS = "[A-Za-z0-9 ,.'!?-]"
_TOKENS_MAX = 64


class EngineChooser:
    """A :class:`models.agent.choosing.Chooser` by the shipped SmolLM2, or any server of chat completions.

    What people wrote is only ever in the message of the user.

    Args:
        has_grammar: whether the engine knows ``structured_outputs``; otherwise its answers are only checked.
    """

    def __init__(self, engine: LanguageEngine, *, has_grammar: bool = True, total_s: float = TOTAL_S) -> None:
        self._engine, self._has_grammar = engine, has_grammar
        self._ends_at = monotonic() + total_s

    async def choose(self, question: str, options: Sequence[str]) -> str:
        """One of ``options``.

        Raises:
            NoChoice: the engine failed, or chose none of them.
        """
        listed = "\n".join(f"- {option}" for option in options)
        tokens = max(map(len, options)) // _CHARS_PER_TOKEN + 4
        answer = await self._ask(f"{question}\n\nChoose one of these:\n{listed}", {"choice": [*options]}, tokens)
        if answer not in options:
            raise NoChoice("the language model chose none of the options")
        return answer

    async def phrase(self, question: str, max_chars: int) -> str:
        """A phrase of at most ``max_chars`` characters, in plain letters.

        Raises:
            NoChoice: the engine failed, or wrote something else.
        """
        regex = f"[A-Z]{_PHRASE_CHARS}{{2,{max_chars - 1}}}"
        answer = await self._ask(question, {"regex": regex}, max_chars // _CHARS_PER_TOKEN + 4)
        if not re.fullmatch(f"{_PHRASE_CHARS}{{3,{max_chars}}}", answer):
            raise NoChoice("the language model wrote no phrase")
        return answer

    async def _ask(self, question: str, rule: Mapping[str, Any], tokens: int) -> str:
        timeout_s = min(ANSWER_TIMEOUT_S, self._ends_at - monotonic())
        if timeout_s <= 0:
            raise NoChoice("the language model took too long")
        body: dict[str, Any] = {
            "messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}],
            "temperature": 0.0,
            "max_tokens": min(tokens, _TOKENS_MAX),
            "stop": ["\n"],
        }
        if self._has_grammar:
            body["structured_outputs"] = rule
        try:
            answer = await self._engine.chat(body, timeout_s=timeout_s)
        except LanguageError as error:
            raise NoChoice(str(error)) from error
        return answer.text.strip()

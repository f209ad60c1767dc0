"""Asks a language engine for phrases that continue a prompt."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from time import monotonic
from typing import Any

from models.language.breaker import CircuitBreaker
from models.language.cleaning import PhraseFilter, UnusableText, continuation
from models.language.client import Delta, LanguageEngine
from models.language.presets import Preset
from models.language.profiles import PhraseChoice, Profile, Subject, Template

CONTINUE: Mapping[str, Any] = {"add_generation_prompt": False, "continue_final_message": True}
"""vLLM's parameters to continue the last message, which is the assistant's; other servers ignore them."""
NOT_A_CHOICE = "the language model did not choose one of the given phrases"
_BEGINNING_CHARS = 24
"""A stream is held back until this many characters show whether it continues the prompt."""


class NothingToAdd(Exception):
    """The prompt needs no addition; the message says why."""


@dataclass(frozen=True, kw_only=True)
class DraftRequest:
    """One prompt for the engine, with its deadline."""

    user_text: str
    """The prompt without syntax."""
    style_text: str
    """The text of a style preset, which the image model reads too; phrases that repeat it are dropped."""
    profile: Profile
    seed: int | None
    ends_at: float
    """The deadline, by ``time.monotonic``."""


class PromptWriter:
    """Writes continuations of prompts with one engine.

    A small model only makes choices: first the subject of the prompt, then one phrase for each open choice of that
    subject. The engine's grammar constrains the output, and it is validated again here. Other models write freely, and
    their text is cleaned. All methods may raise ``EngineUnavailable``, ``EngineTimeout``, ``EngineMisbehaved``,
    ``UnusableText`` and ``NothingToAdd``.
    """

    def __init__(self, engine: LanguageEngine, preset: Preset, breaker: CircuitBreaker) -> None:
        self._engine, self._preset, self._breaker = engine, preset, breaker
        self._model: str | None = None

    async def model(self, ends_at: float) -> str:
        """The name of the engine's model, requested once."""
        if self._model is None:
            with self._breaker.guard():
                self._model = await self._engine.model(timeout_s=ends_at - monotonic())
        return self._model

    async def subject(self, draft: DraftRequest) -> Subject | None:
        """The subject of the prompt, chosen by a small model; ``None`` for other models."""
        if not self._preset.is_small:
            return None
        subjects = draft.profile.subjects
        return subjects[await self._choose_one(draft, draft.profile.subject, list(subjects))]

    async def phrases(
        self, draft: DraftRequest, subject: Subject | None, is_streamed: bool
    ) -> AsyncGenerator[str, None]:
        """The phrases that continue the prompt, each with its separator."""
        choices = draft.profile.free_choices if subject is None else subject.choices
        if choices:
            for phrase in await self._choose_phrases(draft, subject, choices):
                yield phrase
            return
        cleaned, is_cut_off = PhraseFilter(draft.user_text), False
        async with aclosing(self._continue_prompt(draft, is_streamed)) as deltas:
            async for delta in deltas:
                is_cut_off = delta.finish_reason == "length"
                for phrase in cleaned.feed(delta.text):
                    yield phrase
        for phrase in cleaned.end(is_cut_off):
            yield phrase

    async def negative(self, draft: DraftRequest, subject: Subject | None) -> list[str]:
        """The phrases of a negative prompt; empty if the profile has none."""
        if subject is not None:
            return list(subject.negatives)
        template = draft.profile.negative
        if template is None:
            return []
        answer = await self._ask(draft, template, {"stop": ["\n"]})
        cleaned = PhraseFilter(draft.user_text, is_list=True)  # the prompt's own words must not become negative
        phrases = [*cleaned.feed(answer), *cleaned.end(is_cut_off=False)]
        if not phrases:
            raise UnusableText("the language model wrote no negative prompt")
        return phrases

    async def _choose_phrases(
        self, draft: DraftRequest, subject: Subject | None, choices: Sequence[PhraseChoice]
    ) -> list[str]:
        """One phrase for each choice that the prompt leaves open."""
        user_text = f"{draft.user_text} {draft.style_text}"
        open_choices = [choice for each in choices if (choice := each.remaining(user_text, draft.profile.allows))]
        if not open_choices:
            raise NothingToAdd("the prompt already contains all that could be added")
        template = draft.profile.free if subject is None else draft.profile.guided
        if template is None:
            return [choice.text(_pick_by_hash(choice.phrases, draft.user_text)) for choice in open_choices]
        if template.begins:
            return [choice.text(await self._choose_one(draft, template, choice.phrases)) for choice in open_choices]
        regex = "".join(choice.regex for choice in open_choices)
        answer = await self._ask(draft, template, self._constraint({"regex": regex}))
        match = re.fullmatch(regex, continuation(answer, draft.user_text).rstrip())
        if match is None:
            raise UnusableText(NOT_A_CHOICE)
        return [choice.text(phrase) for choice, phrase in zip(open_choices, match.groups(), strict=True)]

    async def _choose_one(self, draft: DraftRequest, template: Template, names: Sequence[str]) -> str:
        """The one of ``names`` that the model chose; they begin differently, so that one token decides."""
        limit = {"max_tokens": 1} if self._preset.is_small else {}
        answer = await self._ask(
            draft, template, {**self._constraint({"choice": [f" {name}" for name in names]}), **limit}
        )
        chosen = continuation(answer, draft.user_text + template.begins).strip()
        found = [name for name in names if chosen.startswith(name)] or [
            name for name in names if name.startswith(chosen)
        ]
        if not chosen or len(found) != 1:
            raise UnusableText(NOT_A_CHOICE)
        return found[0]

    def _constraint(self, rule: Mapping[str, Any]) -> Mapping[str, Any]:
        """The parameters that constrain the output to ``rule``; without grammars the examples must suffice."""
        return {"structured_outputs": rule} if self._preset.has_grammar else {"stop": ["\n"]}

    async def _continue_prompt(self, draft: DraftRequest, is_streamed: bool) -> AsyncGenerator[Delta, None]:
        """The model's continuation of the prompt; its beginning comes in one piece."""
        beginning, has_beginning = "", False
        finish_reason = None
        async with aclosing(self._complete(draft, is_streamed)) as deltas:
            async for delta in deltas:
                finish_reason = delta.finish_reason
                if has_beginning:
                    yield delta
                    continue
                beginning += delta.text
                if len(beginning) > len(draft.user_text) + _BEGINNING_CHARS:
                    has_beginning = True
                    yield Delta(text=continuation(beginning, draft.user_text), finish_reason=finish_reason)
        if not has_beginning:
            yield Delta(text=continuation(beginning, draft.user_text), finish_reason=finish_reason)

    async def _complete(self, draft: DraftRequest, is_streamed: bool) -> AsyncGenerator[Delta, None]:
        body = self._body(draft, draft.profile.free, {"stop": ["\n"]})
        timeout_s = draft.ends_at - monotonic()
        with self._breaker.guard():
            if is_streamed:
                async with aclosing(self._engine.stream(body, timeout_s=timeout_s)) as deltas:
                    async for delta in deltas:
                        yield delta
            else:
                answer = await self._engine.chat(body, timeout_s=timeout_s)
                yield Delta(text=answer.text, finish_reason=answer.finish_reason)

    async def _ask(self, draft: DraftRequest, template: Template, extra: Mapping[str, Any]) -> str:
        with self._breaker.guard():
            body = self._body(draft, template, extra)
            return (await self._engine.chat(body, timeout_s=draft.ends_at - monotonic())).text

    def _body(self, draft: DraftRequest, template: Template, extra: Mapping[str, Any]) -> dict[str, Any]:
        """The request body; the user's text appears in the messages only."""
        body = {**self._preset.sampling, "max_tokens": template.tokens_max, **extra}
        if draft.seed is not None and is_sampled(self._preset):
            body["seed"] = draft.seed
        if template.is_continuation:
            body |= CONTINUE
        if "structured_outputs" in extra:
            body.pop("repetition_penalty", None)  # it would penalise the allowed phrases, which occur in the examples
        return body | {"messages": template.messages(draft.user_text)}


def _pick_by_hash(phrases: Sequence[str], user_text: str) -> str:
    """One of ``phrases``, determined by ``user_text``."""
    return phrases[int.from_bytes(hashlib.sha256(user_text.encode()).digest()[:4]) % len(phrases)]


def is_sampled(preset: Preset) -> bool:
    """Whether the preset samples, so that its output depends on the seed."""
    return bool(preset.sampling.get("temperature", 1.0) > 0)

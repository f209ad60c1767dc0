"""One prompt put to a language engine: the questions, and what of the answers can be used."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from time import monotonic
from typing import Any

from models.language.breaker import CircuitBreaker
from models.language.cleaning import NotFit, Phrases, continuation
from models.language.client import Delta, LanguageEngine
from models.language.presets import Preset
from models.language.profiles import Kind, Profile, Slot, Template

CONTINUE: Mapping[str, Any] = {"add_generation_prompt": False, "continue_final_message": True}
"""vLLM's way to have the answer go on from the last message, which is the assistant's; other servers ignore it."""
OUTSIDE = "the language model answered outside of its choices"
_BEGINNING = 24
"""Characters that tell whether an answer goes on from the prompt; a streamed one is held back so long."""


class NothingToAdd(Exception):
    """The prompt is good as it is; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """A prompt in the words that the engine is shown, and until when the answer is of use."""

    said: str
    beside: str
    """Words that the image model reads too, and that need no repetition."""
    profile: Profile
    seed: int | None
    ends_at: float
    """By ``time.monotonic``."""


class Author:
    """Asks one engine.

    A small model only chooses: first what the prompt is about, then, unless that settles it, one phrase for each slot
    of that kind, held to it by the engine's grammar, and held to it again here. Other models write, and what they wrote
    is cleaned. All methods raise ``EngineUnavailable``, ``EngineTimeout`` and ``EngineMisbehaved``, ``NotFit`` for
    answers of no use, and ``NothingToAdd``.
    """

    def __init__(self, engine: LanguageEngine, preset: Preset, breaker: CircuitBreaker) -> None:
        self._engine, self._preset, self._breaker = engine, preset, breaker
        self._model: str | None = None

    async def model(self, ends_at: float) -> str:
        """The engine's name for its model; the engine is asked once."""
        if self._model is None:
            with self._breaker.guard():
                self._model = await self._engine.model(timeout_s=ends_at - monotonic())
        return self._model

    async def kind(self, question: Question) -> Kind | None:
        """What the prompt is about, if the model is a small one."""
        if not self._preset.is_small:
            return None
        kinds = question.profile.kinds
        return kinds[await self._picked(question, question.profile.kind, list(kinds))]

    async def phrases(self, question: Question, kind: Kind | None, is_streamed: bool) -> AsyncGenerator[str, None]:
        """What goes on from the user's words, phrase by phrase, each with what separates it."""
        slots = question.profile.free_slots if kind is None else kind.slots
        if slots:
            for phrase in await self._chosen(question, kind, slots):
                yield phrase
            return
        cleaned, is_cut_off = Phrases(question.said), False
        async with aclosing(self._written(question, is_streamed)) as deltas:
            async for delta in deltas:
                is_cut_off = delta.finish_reason == "length"
                for phrase in cleaned.feed(delta.text):
                    yield phrase
        for phrase in cleaned.end(is_cut_off):
            yield phrase

    async def negative(self, question: Question, kind: Kind | None) -> list[str]:
        """The phrases of a negative prompt; none if the profile has no use for them."""
        if kind is not None:
            return list(kind.negatives)
        template = question.profile.negative
        if template is None:
            return []
        answer = await self._ask(question, template, {"stop": ["\n"]})
        cleaned = Phrases(question.said, is_list=True)  # what is wanted is nothing to avoid
        phrases = [*cleaned.feed(answer), *cleaned.end(is_cut_off=False)]
        if not phrases:
            raise NotFit("the language model wrote no negative prompt")
        return phrases

    async def _chosen(self, question: Question, kind: Kind | None, slots: Sequence[Slot]) -> list[str]:
        """One phrase for each slot that the user's words leave open."""
        said = f"{question.said} {question.beside}"
        open_slots = [slot for each in slots if (slot := each.narrowed(said, question.profile.allows))]
        if not open_slots:
            raise NothingToAdd("the prompt says already all that could be added")
        template = question.profile.free if kind is None else question.profile.guided
        if template is None:
            return [slot.text(_drawn(slot.phrases, question.said)) for slot in open_slots]
        if template.begins:
            return [slot.text(await self._picked(question, template, slot.phrases)) for slot in open_slots]
        regex = "".join(slot.regex for slot in open_slots)
        answer = await self._ask(question, template, self._held({"regex": regex}))
        match = re.fullmatch(regex, continuation(answer, question.said).rstrip())
        if match is None:
            raise NotFit(OUTSIDE)
        return [slot.text(phrase) for slot, phrase in zip(open_slots, match.groups(), strict=True)]

    async def _picked(self, question: Question, template: Template, names: Sequence[str]) -> str:
        """The one of ``names`` that the answer goes on with; no two begin alike, and one token tells."""
        limit = {"max_tokens": 1} if self._preset.is_small else {}
        answer = await self._ask(
            question, template, {**self._held({"choice": [f" {name}" for name in names]}), **limit}
        )
        said = continuation(answer, question.said + template.begins).strip()
        found = [name for name in names if said.startswith(name)] or [name for name in names if name.startswith(said)]
        if not said or len(found) != 1:
            raise NotFit(OUTSIDE)
        return found[0]

    def _held(self, rule: Mapping[str, Any]) -> Mapping[str, Any]:
        """What holds an answer to ``rule``; an engine without grammars has only the examples to go by."""
        return {"structured_outputs": rule} if self._preset.has_grammar else {"stop": ["\n"]}

    async def _written(self, question: Question, is_streamed: bool) -> AsyncGenerator[Delta, None]:
        """What the model writes after the user's words, the beginning of it in one piece."""
        begun, has_begun = "", False
        finish_reason = None
        async with aclosing(self._answer(question, is_streamed)) as deltas:
            async for delta in deltas:
                finish_reason = delta.finish_reason
                if has_begun:
                    yield delta
                    continue
                begun += delta.text
                if len(begun) > len(question.said) + _BEGINNING:
                    has_begun = True
                    yield Delta(text=continuation(begun, question.said), finish_reason=finish_reason)
        if not has_begun:
            yield Delta(text=continuation(begun, question.said), finish_reason=finish_reason)

    async def _answer(self, question: Question, is_streamed: bool) -> AsyncGenerator[Delta, None]:
        body = self._body(question, question.profile.free, {"stop": ["\n"]})
        timeout_s = question.ends_at - monotonic()
        with self._breaker.guard():
            if is_streamed:
                async with aclosing(self._engine.stream(body, timeout_s=timeout_s)) as deltas:
                    async for delta in deltas:
                        yield delta
            else:
                answer = await self._engine.chat(body, timeout_s=timeout_s)
                yield Delta(text=answer.text, finish_reason=answer.finish_reason)

    async def _ask(self, question: Question, template: Template, extra: Mapping[str, Any]) -> str:
        with self._breaker.guard():
            body = self._body(question, template, extra)
            return (await self._engine.chat(body, timeout_s=question.ends_at - monotonic())).text

    def _body(self, question: Question, template: Template, extra: Mapping[str, Any]) -> dict[str, Any]:
        """A request; the user's words are in its messages alone, whatever they are."""
        body = {**self._preset.sampling, "max_tokens": template.tokens_max, **extra}
        if question.seed is not None and is_sampled(self._preset):
            body["seed"] = question.seed
        if template.is_continuation:
            body |= CONTINUE
        if "structured_outputs" in extra:
            body.pop("repetition_penalty", None)  # it is against words that the examples have
        return body | {"messages": template.messages(question.said)}


def _drawn(phrases: Sequence[str], said: str) -> str:
    """One of ``phrases``: always the same for the same words."""
    return phrases[int.from_bytes(hashlib.sha256(said.encode()).digest()[:4]) % len(phrases)]


def is_sampled(preset: Preset) -> bool:
    """Whether the preset's answers to the same question differ, but for the seed."""
    return bool(preset.sampling.get("temperature", 1.0) > 0)

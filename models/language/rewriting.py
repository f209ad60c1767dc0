"""Rewrites prompts with a language engine: within a deadline and the token budget of the image model, and fail-open."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any, Protocol

from models.jobs.composition import is_composed
from models.jobs.prompts import PromptError
from models.jobs.rewrite import APPLIED, REFUSED, SKIPPED, TIMEOUT, UNAVAILABLE, Rewrite
from models.language.breaker import CircuitBreaker
from models.language.budget import TokenBudget
from models.language.cleaning import UnusableText, plain_text
from models.language.client import LanguageEngine
from models.language.drafting import DraftRequest, NothingToAdd, PromptWriter, is_sampled
from models.language.errors import EngineMisbehaved, EngineTimeout, EngineUnavailable, LanguageError
from models.language.presets import Preset
from models.language.profiles import Profile, Subject

log = logging.getLogger(__name__)

PROMPT_MAX = 1000
"""Prompts of more characters are not rewritten."""
FILLED_MAX = 0.6
"""Prompts that use a larger share of the token budget are not rewritten."""
CACHE_TIMEOUT_S = 0.5
_CACHED_STATUSES = (APPLIED, SKIPPED, REFUSED)


class RewriteCache(Protocol):
    """A cache of outcomes; its errors are logged, and the engine is used instead."""

    async def get(self, key: str) -> Mapping[str, Any] | None:
        """The payload for ``key``, or ``None``."""

    async def put(self, key: str, payload: Mapping[str, Any]) -> None:
        """Store ``payload`` for ``key``."""


@dataclass(frozen=True, kw_only=True)
class RewriteRequest:
    prompt: str
    profile: Profile
    seed: int | None
    """Used only if the engine samples."""
    budget: TokenBudget
    wants_negative: bool = False
    """Whether to write a negative prompt too."""
    style_text: str = ""
    """The text of a style preset that is appended later: it counts for the budget, and phrases must not repeat it."""


class Rewriter:
    """Rewrites prompts with one engine, within one event loop; without ``engine``, rewriting is off.

    ``deadline_s`` limits the whole rewrite. Identical concurrent requests share one call (single flight).
    """

    def __init__(
        self,
        engine: LanguageEngine | None,
        preset: Preset,
        *,
        cache: RewriteCache | None = None,
        deadline_s: float = 10.0,
        breaker: CircuitBreaker | None = None,
    ) -> None:
        self._writer = None if engine is None else PromptWriter(engine, preset, breaker or CircuitBreaker())
        self._preset, self._cache, self._deadline_s = preset, cache, deadline_s
        self._in_flight: dict[str, asyncio.Task[Rewrite]] = {}

    async def rewrite(self, request: RewriteRequest) -> Rewrite:
        """Rewrite a prompt; every failure is an outcome, none is raised."""
        started_at = monotonic()
        key = self._key(request)
        task = self._in_flight.get(key)
        if task is None:
            task = self._in_flight[key] = asyncio.create_task(self._run(request))
            task.add_done_callback(lambda _: self._in_flight.pop(key, None))
        # shielded, since other callers may wait for the same task if this one is cancelled
        return replace(await asyncio.shield(task), elapsed_s=monotonic() - started_at)

    async def stream(self, request: RewriteRequest) -> AsyncGenerator[str | Rewrite, None]:
        """The added text, phrase by phrase, and then the :class:`Rewrite`.

        Only the outcome counts: text before a failure is not used.
        """
        started_at = monotonic()
        async with aclosing(self._stream_parts(request, is_streamed=True)) as parts:
            async for part in parts:
                yield part if isinstance(part, str) else replace(part, elapsed_s=monotonic() - started_at)

    async def _run(self, request: RewriteRequest) -> Rewrite:
        async with aclosing(self._stream_parts(request, is_streamed=False)) as parts:
            *_, outcome = [part async for part in parts]
        assert isinstance(outcome, Rewrite)
        return outcome

    async def _stream_parts(self, request: RewriteRequest, *, is_streamed: bool) -> AsyncGenerator[str | Rewrite, None]:
        """The added text, and in any case an outcome after it."""
        outcome = Rewrite(status=UNAVAILABLE, template=request.profile.template, reason="rewriting is switched off")
        if self._writer is None:
            yield outcome
            return
        ends_at = monotonic() + self._deadline_s
        try:
            draft = _draft_request(request, ends_at)
            outcome = replace(outcome, engine=await self._writer.model(ends_at))
            key = self._key(request, outcome.engine)
            if (cached := await self._read_cache(key, request)) is not None:
                yield (cached.revised_prompt or "").removeprefix(request.prompt)
                yield cached
                return
            async with aclosing(self._ask(self._writer, request, draft, is_streamed)) as parts:
                async for part in parts:
                    if isinstance(part, str):
                        yield part
                        continue
                    outcome = replace(part, engine=outcome.engine, template=outcome.template)
                    await self._write_cache(key, outcome, request)
        except Exception as error:
            outcome = _failure(outcome, error)
        yield outcome

    async def _ask(
        self, writer: PromptWriter, request: RewriteRequest, draft: DraftRequest, is_streamed: bool
    ) -> AsyncGenerator[str | Rewrite, None]:
        """The engine's phrases within the budget, then the outcome; raises if the engine fails."""
        negative = None
        try:
            subject = await writer.subject(draft)
            if request.wants_negative:
                negative = asyncio.create_task(_negative(writer, request, draft, subject))
            prompt = _BudgetedPrompt(request.prompt, request.budget, request.style_text)
            async with aclosing(writer.phrases(draft, subject, is_streamed)) as phrases:
                async for phrase in phrases:
                    if (added := prompt.add(phrase)) is None:
                        break
                    yield added
            revised = prompt.text
            if revised == request.prompt:
                raise UnusableText("nothing that the language model wrote can be used")
            revised_negative = None if negative is None else await negative
            yield Rewrite(status=APPLIED, revised_prompt=revised, revised_negative_prompt=revised_negative)
        except UnusableText as error:
            yield Rewrite(status=REFUSED, reason=str(error))
        except NothingToAdd as error:
            yield Rewrite(status=SKIPPED, reason=str(error))
        finally:
            if negative is not None:
                negative.cancel()

    def _key(self, request: RewriteRequest, *more: str | None) -> str:
        """The cache key: a digest of everything that the outcome depends on."""
        facts = [
            self._preset.name, request.profile.template, request.prompt, request.style_text, request.wants_negative,
            request.budget.limit, request.budget.counted, request.seed if is_sampled(self._preset) else None, *more,
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    async def _read_cache(self, key: str, request: RewriteRequest) -> Rewrite | None:
        """The cached outcome of an identical request."""
        if self._cache is None:
            return None
        try:
            async with asyncio.timeout(CACHE_TIMEOUT_S):
                payload = await self._cache.get(key)
            cached = None if payload is None else Rewrite.from_payload(payload)
        except Exception:
            log.warning("the cache of rewritten prompts cannot be read", exc_info=True)
            return None
        return cached if cached is not None and _is_outcome(cached, request) else None

    async def _write_cache(self, key: str, outcome: Rewrite, request: RewriteRequest) -> None:
        is_whole = (
            outcome.status != APPLIED or not request.wants_negative or outcome.revised_negative_prompt is not None
        )
        if self._cache is None or outcome.status not in _CACHED_STATUSES or not is_whole:
            return
        try:
            async with asyncio.timeout(CACHE_TIMEOUT_S):
                await self._cache.put(key, outcome.to_payload())
        except Exception:
            log.warning("a rewritten prompt could not be written to the cache", exc_info=True)


def _is_outcome(cached: Rewrite, request: RewriteRequest) -> bool:
    """Whether a cached outcome is valid for ``request``; the cache is not trusted."""
    if cached.status != APPLIED:
        return cached.status in _CACHED_STATUSES and cached.revised_prompt is None
    return (
        isinstance(cached.revised_prompt, str)
        and cached.revised_prompt.startswith(request.prompt)
        and isinstance(cached.revised_negative_prompt, str | None)
    )


class _BudgetedPrompt:
    """A prompt that grows by phrases within the token budget."""

    def __init__(self, text: str, budget: TokenBudget, style_text: str = "") -> None:
        self.text, self._prompt, self._budget = text, text, budget
        self._style_text = f", {style_text}" if style_text else ""

    def add(self, phrase: str) -> str | None:
        """Add ``phrase`` and return the added text, or ``None`` if it exceeds the budget."""
        if self.text == self._prompt and (end := re.search(r"[\s,.;:!?]$", self.text)):
            phrase = phrase.lstrip(" ,.") if end[0].isspace() else " " + phrase.lstrip(" ,.")
        if self._budget.count(self.text + phrase + self._style_text) > self._budget.limit:
            return None
        self.text += phrase
        return phrase


def _draft_request(request: RewriteRequest, ends_at: float) -> DraftRequest:
    """The request for the engine.

    Raises:
        NothingToAdd: the prompt is not to be rewritten.
    """
    if len(request.prompt) > PROMPT_MAX:
        raise NothingToAdd("the prompt is too long to rewrite")
    if is_composed(request.prompt):
        raise NothingToAdd("the prompt is composed of parts by AND, and is used as it is written")
    try:
        user_text = plain_text(request.prompt)
        request.prompt.encode()
    except (PromptError, UnicodeEncodeError) as error:
        raise NothingToAdd("the prompt has a syntax error") from error
    if not user_text:
        raise NothingToAdd("the prompt has no text to continue")
    if request.budget.count(f"{request.prompt} {request.style_text}") > FILLED_MAX * request.budget.limit:
        raise NothingToAdd("the prompt already uses most of the model's token limit")
    if (reason := request.profile.skips(user_text)) is not None:
        raise NothingToAdd(reason)
    return DraftRequest(
        user_text=user_text, style_text=request.style_text, profile=request.profile, seed=request.seed, ends_at=ends_at
    )


async def _negative(
    writer: PromptWriter, request: RewriteRequest, draft: DraftRequest, subject: Subject | None
) -> str | None:
    """A negative prompt within the budget; ``None`` if there is none or the engine fails."""
    prompt = _BudgetedPrompt("", request.budget)
    try:
        for phrase in await writer.negative(draft, subject):
            if prompt.add(phrase) is None:
                break
    except (LanguageError, UnusableText) as error:
        log.info("no negative prompt: %s", type(error).__name__)
    return prompt.text or None


def _failure(outcome: Rewrite, error: Exception) -> Rewrite:
    """The outcome for an error; what the language engine says of it is only logged."""
    if isinstance(error, NothingToAdd):
        return replace(outcome, status=SKIPPED, reason=str(error))
    for error_type, (status, reason) in _OUTCOME_OF.items():
        if isinstance(error, error_type):
            log.info("a prompt was not rewritten: %s", error)
            return replace(outcome, status=status, reason=reason)
    log.error("a prompt could not be rewritten", exc_info=error)
    return replace(outcome, status=UNAVAILABLE, reason="rewriting failed")


_OUTCOME_OF: Mapping[type[Exception], tuple[str, str]] = {
    EngineTimeout: (TIMEOUT, "the language engine did not answer in time"),
    EngineUnavailable: (UNAVAILABLE, "the language engine cannot be reached, or is overloaded"),
    EngineMisbehaved: (REFUSED, "the answer of the language engine is invalid; the log has the reason"),
}
"""Status and reason by the kind of the error."""

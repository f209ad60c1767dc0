"""Prompts rewritten before they are drawn: in time, within what the image model reads, or not at all."""

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

from models.jobs.prompts import PromptError
from models.jobs.rewrite import APPLIED, REFUSED, SKIPPED, TIMEOUT, UNAVAILABLE, Rewrite
from models.language.breaker import CircuitBreaker
from models.language.budget import TokenBudget
from models.language.cleaning import NotFit, plain
from models.language.client import LanguageEngine
from models.language.drafting import Author, NothingToAdd, Question, is_sampled
from models.language.errors import EngineMisbehaved, EngineTimeout, EngineUnavailable, LanguageError
from models.language.presets import Preset
from models.language.profiles import Kind, Profile

log = logging.getLogger(__name__)

PROMPT_MAX = 1000
"""Characters; longer prompts say enough."""
FILLED_MAX = 0.6
"""So much of the budget may a prompt take for there to be anything worth adding."""
CACHE_TIMEOUT_S = 0.5
_KEPT = (APPLIED, SKIPPED, REFUSED)


class RewriteCache(Protocol):
    """Where outcomes are kept; whatever it raises is logged, and the engine is asked."""

    async def get(self, key: str) -> Mapping[str, Any] | None:
        """What was put under ``key``."""

    async def put(self, key: str, payload: Mapping[str, Any]) -> None:
        """Keep ``payload`` under ``key``."""


@dataclass(frozen=True, kw_only=True)
class RewriteRequest:
    """One prompt to rewrite."""

    prompt: str
    profile: Profile
    seed: int | None
    """Passed on where the engine draws lots."""
    budget: TokenBudget
    wants_negative: bool = False
    """Whether a negative prompt is wanted too."""
    beside: str = ""
    """Words that will stand beside the prompt, of a style preset: they take their room, and are not said again."""


class Rewriter:
    """Rewrites prompts with one engine, for use within one event loop; ``engine`` ``None`` is rewriting switched off.

    ``deadline_s`` is for everything: what is not done then is not rewritten. The same request made again while the
    first is in work waits for the first one's outcome.
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
        self._author = None if engine is None else Author(engine, preset, breaker or CircuitBreaker())
        self._preset, self._cache, self._deadline_s = preset, cache, deadline_s
        self._running: dict[str, asyncio.Task[Rewrite]] = {}

    async def rewrite(self, request: RewriteRequest) -> Rewrite:
        """Rewrite a prompt; every failure is an outcome, and none is raised."""
        begun_at = monotonic()
        key = self._key(request)
        task = self._running.get(key)
        if task is None:
            task = self._running[key] = asyncio.create_task(self._last(request))
            task.add_done_callback(lambda _: self._running.pop(key, None))
        # shielded: others may wait for the same outcome when this caller no longer does
        return replace(await asyncio.shield(task), elapsed_s=monotonic() - begun_at)

    async def stream(self, request: RewriteRequest) -> AsyncGenerator[str | Rewrite, None]:
        """The text that is added to the prompt, phrase by phrase, and the :class:`Rewrite` last.

        The outcome alone counts: text that came before a failure is not used.
        """
        begun_at = monotonic()
        async with aclosing(self._work(request, is_streamed=True)) as parts:
            async for part in parts:
                yield part if isinstance(part, str) else replace(part, elapsed_s=monotonic() - begun_at)

    async def _last(self, request: RewriteRequest) -> Rewrite:
        async with aclosing(self._work(request, is_streamed=False)) as parts:
            *_, outcome = [part async for part in parts]
        assert isinstance(outcome, Rewrite)
        return outcome

    async def _work(self, request: RewriteRequest, *, is_streamed: bool) -> AsyncGenerator[str | Rewrite, None]:
        """The text, and in any event an outcome behind it."""
        outcome = Rewrite(status=UNAVAILABLE, template=request.profile.template, reason="rewriting is switched off")
        if self._author is None:
            yield outcome
            return
        ends_at = monotonic() + self._deadline_s
        try:
            question = _question(request, ends_at)
            outcome = replace(outcome, engine=await self._author.model(ends_at))
            key = self._key(request, outcome.engine)
            if (kept := await self._kept(key, request)) is not None:
                yield (kept.revised_prompt or "").removeprefix(request.prompt)
                yield kept
                return
            async with aclosing(self._ask(self._author, request, question, is_streamed)) as parts:
                async for part in parts:
                    if isinstance(part, str):
                        yield part
                        continue
                    outcome = replace(part, engine=outcome.engine, template=outcome.template)
                    await self._keep(key, outcome, request)
        except Exception as error:
            outcome = _failure(outcome, error)
        yield outcome

    async def _ask(
        self, author: Author, request: RewriteRequest, question: Question, is_streamed: bool
    ) -> AsyncGenerator[str | Rewrite, None]:
        """What the engine says, and the outcome, unless it fails."""
        negative = None
        try:
            kind = await author.kind(question)
            if request.wants_negative:
                negative = asyncio.create_task(_negative(author, request, question, kind))
            prompt = _Growing(request.prompt, request.budget, request.beside)
            async with aclosing(author.phrases(question, kind, is_streamed)) as phrases:
                async for phrase in phrases:
                    if (added := prompt.add(phrase)) is None:
                        break
                    yield added
            revised = prompt.text
            if revised == request.prompt:
                raise NotFit("nothing of what the language model wrote can be used")
            revised_negative = None if negative is None else await negative
            yield Rewrite(status=APPLIED, revised_prompt=revised, revised_negative_prompt=revised_negative)
        except NotFit as error:
            yield Rewrite(status=REFUSED, reason=str(error))
        except NothingToAdd as error:
            yield Rewrite(status=SKIPPED, reason=str(error))
        finally:
            if negative is not None:
                negative.cancel()

    def _key(self, request: RewriteRequest, *more: str | None) -> str:
        """What two requests share that have the same outcome."""
        facts = [
            self._preset.name, request.profile.template, request.prompt, request.beside, request.wants_negative,
            request.budget.limit, request.budget.counted, request.seed if is_sampled(self._preset) else None, *more,
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    async def _kept(self, key: str, request: RewriteRequest) -> Rewrite | None:
        """The outcome of the same request before, if it is still kept."""
        if self._cache is None:
            return None
        try:
            async with asyncio.timeout(CACHE_TIMEOUT_S):
                payload = await self._cache.get(key)
            kept = None if payload is None else Rewrite.from_payload(payload)
        except Exception:
            log.warning("the cache of rewritten prompts cannot be read", exc_info=True)
            return None
        return kept if kept is not None and _is_outcome(kept, request) else None

    async def _keep(self, key: str, outcome: Rewrite, request: RewriteRequest) -> None:
        is_whole = (
            outcome.status != APPLIED or not request.wants_negative or outcome.revised_negative_prompt is not None
        )
        if self._cache is None or outcome.status not in _KEPT or not is_whole:
            return
        try:
            async with asyncio.timeout(CACHE_TIMEOUT_S):
                await self._cache.put(key, outcome.to_payload())
        except Exception:
            log.warning("a rewritten prompt could not be kept", exc_info=True)


def _is_outcome(kept: Rewrite, request: RewriteRequest) -> bool:
    """Whether what was in the cache can be what was put there for ``request``."""
    if kept.status != APPLIED:
        return kept.status in _KEPT and kept.revised_prompt is None
    return (
        isinstance(kept.revised_prompt, str)
        and kept.revised_prompt.startswith(request.prompt)
        and isinstance(kept.revised_negative_prompt, str | None)
    )


class _Growing:
    """A prompt that takes phrases as long as the budget lasts."""

    def __init__(self, text: str, budget: TokenBudget, beside: str = "") -> None:
        self.text, self._prompt, self._budget = text, text, budget
        self._beside = f", {beside}" if beside else ""

    def add(self, phrase: str) -> str | None:
        """Add ``phrase``; what was really added, or ``None`` if there is no room for it."""
        if self.text == self._prompt and (end := re.search(r"[\s,.;:!?]$", self.text)):
            phrase = phrase.lstrip(" ,.") if end[0].isspace() else " " + phrase.lstrip(" ,.")
        if self._budget.count(self.text + phrase + self._beside) > self._budget.limit:
            return None
        self.text += phrase
        return phrase


def _question(request: RewriteRequest, ends_at: float) -> Question:
    """The request as the engine is asked.

    Raises:
        NothingToAdd: it need not be asked.
    """
    if len(request.prompt) > PROMPT_MAX:
        raise NothingToAdd("the prompt is long already")
    try:
        said = plain(request.prompt)
        request.prompt.encode()
    except (PromptError, UnicodeEncodeError) as error:
        raise NothingToAdd("the prompt cannot be read") from error
    if not said:
        raise NothingToAdd("the prompt says nothing that could be continued")
    if request.budget.count(f"{request.prompt} {request.beside}") > FILLED_MAX * request.budget.limit:
        raise NothingToAdd("the prompt fills most of what the model reads")
    if (reason := request.profile.skips(said)) is not None:
        raise NothingToAdd(reason)
    return Question(said=said, beside=request.beside, profile=request.profile, seed=request.seed, ends_at=ends_at)


async def _negative(author: Author, request: RewriteRequest, question: Question, kind: Kind | None) -> str | None:
    """A negative prompt within the budget; ``None`` if there is none, for whatever reason."""
    prompt = _Growing("", request.budget)
    try:
        for phrase in await author.negative(question, kind):
            if prompt.add(phrase) is None:
                break
    except (LanguageError, NotFit) as error:
        log.info("no negative prompt: %s", error)
    return prompt.text or None


def _failure(outcome: Rewrite, error: Exception) -> Rewrite:
    """The outcome that an error stands for."""
    for kind, status in _STATUS_OF.items():
        if isinstance(error, kind):
            return replace(outcome, status=status, reason=str(error))
    log.error("a prompt could not be rewritten", exc_info=error)
    return replace(outcome, status=UNAVAILABLE, reason="rewriting failed")


_STATUS_OF: Mapping[type[Exception], str] = {
    NothingToAdd: SKIPPED, EngineTimeout: TIMEOUT, EngineUnavailable: UNAVAILABLE, EngineMisbehaved: REFUSED,
}  # fmt: skip

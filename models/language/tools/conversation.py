"""The rounds of a conversation: the model calls tools, learns what came of it, and ends with a result or is refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, nullcontext
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from models.errors import PhotogramError
from models.language.breaker import CircuitBreaker
from models.language.client import LanguageEngine
from models.language.errors import EngineTimeout
from models.language.schemas import complaints, without_idle_nulls
from models.language.tools.dialect import Dialect, as_json
from models.language.tools.nouns import BadCall, Event, Exchange, Said, Text, Tool, ToolCall, Turn

PROBLEMS_MAX = 2
"""So many bad calls end a conversation; all before the last are told to the model."""
CALLS_MAX = 4
"""Calls that are followed in one answer; what comes after them is ignored."""
RESULT_MAX_CHARS = 4000
"""What the model is told of one result."""
_QUOTE_MAX_CHARS = 500
"""What the model is told of a problem, and shown of its own words."""


class ToolProblem(PhotogramError):
    """What a handler raises if it cannot do what was asked; the message is for the model."""


@dataclass(frozen=True, kw_only=True)
class Information:
    """Something that the model wanted to know; ``payload`` can be written as JSON."""

    payload: Any


@dataclass(frozen=True, kw_only=True)
class Final:
    """What the conversation was about; it ends here."""

    result: Any


Handler = Callable[[dict[str, Any]], Awaitable[Information | Final]]
"""Does what a tool does, with arguments that suit the tool's schema.

Raises:
    ToolProblem.
"""


@dataclass(frozen=True, kw_only=True)
class Offer:
    """A tool, and what happens when it is called."""

    tool: Tool
    handler: Handler


@dataclass(frozen=True, kw_only=True)
class Called:
    """The model called a tool; whether it may is not known yet."""

    call: ToolCall


@dataclass(frozen=True, kw_only=True)
class Answered:
    """What the model is told."""

    call: ToolCall | None
    """``None`` if it made no call that could be read."""
    result: Any = None
    error: str | None = None
    """What was wrong; there is no result then."""


@dataclass(frozen=True, kw_only=True)
class Finished:
    """The end, with the result of a handler."""

    call: ToolCall
    result: Any


@dataclass(frozen=True, kw_only=True)
class Refused:
    """The end, without one."""

    reasons: tuple[str, ...]
    """In the order in which they came up."""


ConversationEvent = Text | Called | Answered | Finished | Refused


@dataclass
class _Answer:
    """What the model wrote in one round."""

    text: str = ""
    calls: list[ToolCall | BadCall] = field(default_factory=list)

    def add(self, event: Event) -> None:
        if isinstance(event, Text):
            self.text += event.text
        elif len(self.calls) < CALLS_MAX:
            self.calls.append(event)

    def attempts(self, tools: Sequence[Tool]) -> list[ToolCall | BadCall]:
        """The calls, of which there is always at least a failed one."""
        return self.calls or [BadCall(reason=f"no tool was called; call one of: {_names(tools)}", raw="")]


@dataclass(kw_only=True)
class _Talk:
    """One conversation."""

    system: str
    turns: list[Turn]
    offers: Sequence[Offer]
    is_streamed: bool
    ends_at: float
    """By the clock of the event loop."""
    problems: list[str] = field(default_factory=list)

    @property
    def tools(self) -> list[Tool]:
        return [offer.tool for offer in self.offers]


class Conversation:
    """Talks with one engine in one dialect; without state of its own between conversations."""

    def __init__(
        self,
        engine: LanguageEngine,
        dialect: Dialect,
        breaker: CircuitBreaker | None = None,
        *,
        deadline_s: float,
        rounds_max: int = 4,
        answer_max_tokens: int = 512,
        sampling: Mapping[str, Any] = MappingProxyType({"temperature": 0.0}),
    ) -> None:
        self._engine = engine
        self._dialect = dialect
        self._breaker = breaker
        self._deadline_s = deadline_s
        self._rounds_max = rounds_max
        self._limits = {**sampling, "max_tokens": answer_max_tokens}

    async def run(
        self, system: str, messages: Sequence[Said], offers: Sequence[Offer], *, stream: bool = True
    ) -> AsyncGenerator[ConversationEvent, None]:
        """The events as they happen, the last being ``Finished`` or ``Refused``.

        ``system`` is all that the model takes for instructions; what users wrote belongs into ``messages``. Without
        ``stream``, the engine is asked for whole answers. Close the generator (``contextlib.aclosing``) to stop early.

        Raises:
            LanguageError: the engine failed, or ``deadline_s`` passed.
        """
        ends_at = asyncio.get_running_loop().time() + self._deadline_s
        talk = _Talk(system=system, turns=list(messages), offers=offers, is_streamed=stream, ends_at=ends_at)
        for number in range(1, self._rounds_max + 1):
            async with aclosing(self._round(talk, number)) as events:
                async for event in events:
                    yield event
                    if isinstance(event, Finished):
                        return
            if len(talk.problems) == PROBLEMS_MAX:
                break
        else:
            talk.problems.append(f"there was no result after {self._rounds_max} rounds")
        yield Refused(reasons=tuple(talk.problems))

    async def _round(self, talk: _Talk, number: int) -> AsyncGenerator[ConversationEvent, None]:
        """One answer of the model, and what becomes of its calls, up to the first bad one."""
        answer = _Answer()
        async with aclosing(self._ask(talk, number)) as events:
            async for event in events:
                answer.add(event)
                if isinstance(event, Text):
                    yield event
        for attempt in answer.attempts(talk.tools):
            if isinstance(attempt, ToolCall):
                yield Called(call=attempt)
            outcome = await self._outcome(attempt, talk)
            yield outcome
            if isinstance(outcome, Finished):
                return
            talk.turns.append(_exchange(answer, attempt, outcome))
            answer.text = ""
            if outcome.error is not None:
                talk.problems.append(outcome.error)
                return

    async def _ask(self, talk: _Talk, number: int) -> AsyncGenerator[Event, None]:
        """What the model answers, as it comes."""
        body = {**self._dialect.body(talk.system, talk.turns, talk.tools), **self._limits}
        left_s = talk.ends_at - asyncio.get_running_loop().time()
        if left_s <= 0:
            raise self._too_late()
        with self._breaker.guard() if self._breaker else nullcontext():
            if not talk.is_streamed:
                completion = await self._engine.chat(body, timeout_s=left_s)
                for event in self._dialect.read(completion, talk.tools, f"call-{number}"):
                    yield event
                return
            reader = self._dialect.reader(talk.tools, f"call-{number}")
            async with aclosing(self._engine.stream(body, timeout_s=left_s)) as deltas:
                async for delta in deltas:
                    for event in reader.feed(delta):
                        yield event
            for event in reader.finish():
                yield event

    async def _outcome(self, attempt: ToolCall | BadCall, talk: _Talk) -> Answered | Finished:
        if isinstance(attempt, BadCall):
            return Answered(call=None, error=attempt.reason)
        try:
            async with asyncio.timeout_at(talk.ends_at):
                outcome = await _handled(attempt, talk.offers)
        except ToolProblem as problem:
            return Answered(call=attempt, error=str(problem)[:_QUOTE_MAX_CHARS])
        except TimeoutError:
            raise self._too_late() from None
        if isinstance(outcome, Final):
            return Finished(call=attempt, result=outcome.result)
        return Answered(call=attempt, result=outcome.payload)

    def _too_late(self) -> EngineTimeout:
        return EngineTimeout(f"the conversation took longer than {self._deadline_s:g} s")


async def _handled(call: ToolCall, offers: Sequence[Offer]) -> Information | Final:
    """What the handler makes of ``call``.

    Raises:
        ToolProblem: there is no such tool, the arguments do not suit it, or the handler says so.
    """
    offer = next((offer for offer in offers if offer.tool.name == call.name), None)
    if offer is None:
        raise ToolProblem(f"there is no tool {call.name!r}; there are: {_names([offer.tool for offer in offers])}")
    arguments = without_idle_nulls(offer.tool.parameters, call.arguments)
    if found := complaints(offer.tool.parameters, arguments):
        raise ToolProblem("; ".join(found))
    return await offer.handler(arguments)


def _exchange(answer: _Answer, attempt: ToolCall | BadCall, outcome: Answered) -> Exchange:
    """The turn that the model is shown in the next round."""
    call = attempt if isinstance(attempt, ToolCall) else None
    raw = attempt.raw if isinstance(attempt, BadCall) else ""
    told = _shortened(as_json(outcome.result), RESULT_MAX_CHARS) if outcome.error is None else outcome.error
    text = _shortened("\n".join(filter(None, (answer.text, raw))), _QUOTE_MAX_CHARS)
    return Exchange(text=text, call=call, answer=told, is_error=outcome.error is not None)


def _names(tools: Sequence[Tool]) -> str:
    return ", ".join(tool.name for tool in tools)


def _shortened(text: str, max_chars: int) -> str:
    return text if len(text) <= max_chars else f"{text[:max_chars]} ... (shortened)"

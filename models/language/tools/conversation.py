"""The conversation loop: the model calls tools and gets their results, until a final result or a refusal."""

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
from models.language.schemas import violations, without_optional_nulls
from models.language.tools.dialect import Dialect, as_json
from models.language.tools.types import BadCall, Event, Text, TextTurn, Tool, ToolCall, ToolTurn, Turn

PROBLEMS_MAX = 2
"""The number of failed calls that ends a conversation; the model gets the errors of all but the last."""
CALLS_MAX = 4
"""Further calls in one answer are ignored."""
RESULT_MAX_CHARS = 4000
"""The length limit of a result for the model."""
_QUOTE_MAX_CHARS = 500
"""The length limit of an error message, and of the model's own text in the history."""


class ToolProblem(PhotogramError):
    """A handler cannot execute the call; the message is for the model."""


@dataclass(frozen=True, kw_only=True)
class Information:
    """A result for the model; ``payload`` is JSON-serializable."""

    payload: Any


@dataclass(frozen=True, kw_only=True)
class Final:
    """The final result; it ends the conversation."""

    result: Any


Handler = Callable[[dict[str, Any]], Awaitable[Information | Final]]
"""Executes a call whose arguments are valid by the tool's schema.

Raises:
    ToolProblem.
"""


@dataclass(frozen=True, kw_only=True)
class Offer:
    """A tool and its handler."""

    tool: Tool
    handler: Handler


@dataclass(frozen=True, kw_only=True)
class Called:
    """The model called a tool; the call is not validated yet."""

    call: ToolCall


@dataclass(frozen=True, kw_only=True)
class Answered:
    """The reply to the model after a call."""

    call: ToolCall | None
    """``None`` if no call could be parsed."""
    result: Any = None
    error: str | None = None
    """The error message, if the call failed."""


@dataclass(frozen=True, kw_only=True)
class Finished:
    """The end of a conversation with a final result."""

    call: ToolCall
    result: Any


@dataclass(frozen=True, kw_only=True)
class Refused:
    """The end of a conversation without a result."""

    reasons: tuple[str, ...]
    """The errors, in order of time."""


ConversationEvent = Text | Called | Answered | Finished | Refused


@dataclass
class _Answer:
    """The model's answer of one round."""

    text: str = ""
    calls: list[ToolCall | BadCall] = field(default_factory=list)

    def add(self, event: Event) -> None:
        if isinstance(event, Text):
            self.text += event.text
        elif len(self.calls) < CALLS_MAX:
            self.calls.append(event)

    def attempts(self, tools: Sequence[Tool]) -> list[ToolCall | BadCall]:
        """The calls; if there are none, a :class:`BadCall` that says so."""
        return self.calls or [BadCall(reason=f"no tool was called; call one of: {_names(tools)}", raw="")]


@dataclass(kw_only=True)
class _Dialogue:
    system: str
    turns: list[Turn]
    offers: Sequence[Offer]
    is_streamed: bool
    ends_at: float
    """The deadline, by the event loop's clock."""
    problems: list[str] = field(default_factory=list)

    @property
    def tools(self) -> list[Tool]:
        return [offer.tool for offer in self.offers]


class Conversation:
    """Runs conversations with one engine in one dialect; keeps no state between them."""

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
        self, system: str, messages: Sequence[TextTurn], offers: Sequence[Offer], *, stream: bool = True
    ) -> AsyncGenerator[ConversationEvent, None]:
        """The events as they happen; the last is ``Finished`` or ``Refused``.

        Instructions must be in ``system``, text of users in ``messages``. Without ``stream`` the engine sends whole
        answers. Close the generator (``contextlib.aclosing``) to stop early.

        Raises:
            LanguageError: the engine failed, or ``deadline_s`` passed.
        """
        ends_at = asyncio.get_running_loop().time() + self._deadline_s
        dialogue = _Dialogue(system=system, turns=list(messages), offers=offers, is_streamed=stream, ends_at=ends_at)
        for number in range(1, self._rounds_max + 1):
            async with aclosing(self._round(dialogue, number)) as events:
                async for event in events:
                    yield event
                    if isinstance(event, Finished):
                        return
            if len(dialogue.problems) == PROBLEMS_MAX:
                break
        else:
            dialogue.problems.append(f"there was no result after {self._rounds_max} rounds")
        yield Refused(reasons=tuple(dialogue.problems))

    async def _round(self, dialogue: _Dialogue, number: int) -> AsyncGenerator[ConversationEvent, None]:
        """One answer of the model, and the execution of its calls up to the first failed one."""
        answer = _Answer()
        async with aclosing(self._ask(dialogue, number)) as events:
            async for event in events:
                answer.add(event)
                if isinstance(event, Text):
                    yield event
        for attempt in answer.attempts(dialogue.tools):
            if isinstance(attempt, ToolCall):
                yield Called(call=attempt)
            outcome = await self._outcome(attempt, dialogue)
            yield outcome
            if isinstance(outcome, Finished):
                return
            dialogue.turns.append(_tool_turn(answer, attempt, outcome))
            answer.text = ""
            if outcome.error is not None:
                dialogue.problems.append(outcome.error)
                return

    async def _ask(self, dialogue: _Dialogue, number: int) -> AsyncGenerator[Event, None]:
        """The events of the model's answer."""
        body = {**self._dialect.body(dialogue.system, dialogue.turns, dialogue.tools), **self._limits}
        left_s = dialogue.ends_at - asyncio.get_running_loop().time()
        if left_s <= 0:
            raise self._timeout()
        with self._breaker.guard() if self._breaker else nullcontext():
            if not dialogue.is_streamed:
                completion = await self._engine.chat(body, timeout_s=left_s)
                for event in self._dialect.read(completion, dialogue.tools, f"call-{number}"):
                    yield event
                return
            reader = self._dialect.reader(dialogue.tools, f"call-{number}")
            async with aclosing(self._engine.stream(body, timeout_s=left_s)) as deltas:
                async for delta in deltas:
                    for event in reader.feed(delta):
                        yield event
            for event in reader.finish():
                yield event

    async def _outcome(self, attempt: ToolCall | BadCall, dialogue: _Dialogue) -> Answered | Finished:
        if isinstance(attempt, BadCall):
            return Answered(call=None, error=attempt.reason)
        try:
            async with asyncio.timeout_at(dialogue.ends_at):
                outcome = await _call_handler(attempt, dialogue.offers)
        except ToolProblem as problem:
            return Answered(call=attempt, error=str(problem)[:_QUOTE_MAX_CHARS])
        except TimeoutError:
            raise self._timeout() from None
        if isinstance(outcome, Final):
            return Finished(call=attempt, result=outcome.result)
        return Answered(call=attempt, result=outcome.payload)

    def _timeout(self) -> EngineTimeout:
        return EngineTimeout(f"the conversation took longer than {self._deadline_s:g} s")


async def _call_handler(call: ToolCall, offers: Sequence[Offer]) -> Information | Final:
    """Validate ``call`` and run its handler.

    Raises:
        ToolProblem: the tool does not exist, the arguments are invalid, or the handler failed.
    """
    offer = next((offer for offer in offers if offer.tool.name == call.name), None)
    if offer is None:
        raise ToolProblem(f"there is no tool {call.name!r}; there are: {_names([offer.tool for offer in offers])}")
    arguments = without_optional_nulls(offer.tool.parameters, call.arguments)
    if found := violations(offer.tool.parameters, arguments):
        raise ToolProblem("; ".join(found))
    return await offer.handler(arguments)


def _tool_turn(answer: _Answer, attempt: ToolCall | BadCall, outcome: Answered) -> ToolTurn:
    """The turn for the history of the next round."""
    call = attempt if isinstance(attempt, ToolCall) else None
    raw = attempt.raw if isinstance(attempt, BadCall) else ""
    reply = _shortened(as_json(outcome.result), RESULT_MAX_CHARS) if outcome.error is None else outcome.error
    text = _shortened("\n".join(filter(None, (answer.text, raw))), _QUOTE_MAX_CHARS)
    return ToolTurn(text=text, call=call, answer=reply, is_error=outcome.error is not None)


def _names(tools: Sequence[Tool]) -> str:
    return ", ".join(tool.name for tool in tools)


def _shortened(text: str, max_chars: int) -> str:
    return text if len(text) <= max_chars else f"{text[:max_chars]} ... (shortened)"

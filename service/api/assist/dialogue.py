"""One wish and the conversation about it: what the language model says and calls, and the proposal at the end."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from models.errors import InvalidTicket
from models.language.breaker import CircuitBreaker
from models.language.client import LanguageEngine
from models.language.errors import EngineTimeout, EngineUnavailable, LanguageError
from models.language.presets import Preset
from models.language.tools import DIALECTS, Dialect, Tool
from models.language.tools.conversation import (
    Answered,
    Called,
    Conversation,
    Final,
    Finished,
    Handler,
    Information,
    Offer,
    Refused,
    ToolProblem,
)
from models.language.tools.reader import Reader
from models.language.tools.types import USER, Text, TextTurn, ToolCall, ToolTurn, Turn
from service.api.assist.information import information_tools, look_up
from service.api.assist.instructions import SYSTEM, VERSION
from service.api.assist.proposals import Wish, propose
from service.api.assist.reading import user_message
from service.api.assist.tools import job_tools
from service.api.assist.wire import AssistView, CallView, ProposedJob
from service.api.errors import ApiError, ErrorCode, unavailable

DEADLINE_S = 60.0
"""For a whole conversation."""
ROUNDS_MAX = 6
PROPOSED, ANSWERED = "proposed", "answered"
_MESSAGE_MAX_CHARS = 4000

log = logging.getLogger(__name__)

Event = tuple[str, dict[str, Any]]
"""The name of a server-sent event, and its data."""


class _Counted(Dialect):
    """Another dialect, and how often the model was asked in it."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self.asked = 0

    def body(self, system: str, turns: Sequence[Turn], tools: Sequence[Tool]) -> dict[str, Any]:
        """As the other one's."""
        self.asked += 1
        return self._dialect.body(system, turns, tools)

    def reader(self, tools: Sequence[Tool], id_prefix: str) -> Reader:
        """As the other one's."""
        return self._dialect.reader(tools, id_prefix)

    def tool_messages(self, turn: ToolTurn, call: ToolCall) -> list[dict[str, Any]]:
        """As the other one's."""
        return self._dialect.tool_messages(turn, call)


@dataclass(frozen=True, kw_only=True)
class Partner:
    """Whom we talk with."""

    engine: LanguageEngine
    preset: Preset
    breaker: CircuitBreaker


@dataclass
class _Heard:
    """What was said and called so far."""

    text: str = ""
    calls: list[CallView] = field(default_factory=list)

    def add(self, call: ToolCall | None, outcome: str) -> None:
        if call is not None:
            self.calls.append(CallView(name=call.name, arguments=call.arguments, outcome=outcome))


async def conversation(partner: Partner, message: str, wish: Wish, *, is_streamed: bool) -> AsyncGenerator[Event, None]:
    """What happens, as server-sent events show it; the last one is ``proposal``, with the whole answer.

    Raises:
        ApiError: the language engine failed, or no proposal can be drawn.
    """
    dialect, heard = _Counted(DIALECTS[partner.preset.tool_dialect]), _Heard()
    talk = Conversation(
        partner.engine, dialect, partner.breaker,
        deadline_s=DEADLINE_S, rounds_max=ROUNDS_MAX, sampling=partner.preset.sampling,
    )  # fmt: skip
    said = [TextTurn(role=USER, text=user_message(message, wish))]
    try:
        async with aclosing(talk.run(SYSTEM, said, _offers(wish), stream=is_streamed)) as events:
            async for event in events:
                if isinstance(event, Finished):
                    heard.add(event.call, PROPOSED)
                    yield "result", {"name": event.call.name, "outcome": PROPOSED}
                    engine = await partner.engine.model()
                    yield "proposal", _view(event, heard, dialect.asked, engine).model_dump()
                else:
                    yield _told(event, heard)
    except LanguageError as error:
        raise _failure(error) from error


def _told(event: Text | Called | Answered | Refused, heard: _Heard) -> Event:
    """``event`` in a client's words; raises :class:`ApiError` if it is the end."""
    match event:
        case Text(text=text):
            heard.text += text
            return "text", {"text": text}
        case Called(call=call):
            return "call", {"name": call.name, "arguments": call.arguments}
        case Answered(call=call, error=error):
            heard.add(call, error or ANSWERED)
            return "result", {"name": call and call.name, "outcome": error or ANSWERED}
        case Refused(reasons=reasons):
            raise ApiError(ErrorCode.NO_PROPOSAL, f"the language model proposed no valid job: {'; '.join(reasons)}")


def _view(finished: Finished, heard: _Heard, rounds: int, engine: str) -> AssistView:
    return AssistView(
        status=PROPOSED,
        job=ProposedJob(**finished.result),
        message=heard.text[:_MESSAGE_MAX_CHARS],
        calls=heard.calls,
        rounds=rounds,
        engine=engine,
        template=VERSION,
    )


def _failure(error: LanguageError) -> ApiError:
    """What the client is told; what the engine itself said is for the log."""
    log.warning("the language engine failed in a conversation: %s", error)
    match error:
        case EngineTimeout():
            detail = "the language engine did not answer in time"
        case EngineUnavailable():
            detail = "the language engine cannot be reached, or failed too often a moment ago"
        case _:
            detail = "the language engine's answer makes no sense; the log has the reason"
    return unavailable(ErrorCode.LANGUAGE_UNAVAILABLE, detail)


def _offers(wish: Wish) -> list[Offer]:
    """The tools, and what they do."""
    tools = job_tools(wish.catalog, len(wish.images), is_change=wish.job is not None)
    proposing = [Offer(tool=tool, handler=_proposer(tool.name, wish)) for tool in tools]
    return [*proposing, *(Offer(tool=tool, handler=_informer(tool.name, wish)) for tool in information_tools())]


def _proposer(name: str, wish: Wish) -> Handler:
    async def handle(arguments: dict[str, Any]) -> Final:
        try:
            return Final(result=propose(name, arguments, wish))
        except InvalidTicket as error:
            raise ToolProblem(str(error)) from error

    return handle


def _informer(name: str, wish: Wish) -> Handler:
    async def handle(_: dict[str, Any]) -> Information:
        return Information(payload=look_up(name, wish.catalog))

    return handle

"""The conversation with the language model about one request: its texts and tool calls, and the proposed job."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from models.errors import InvalidTicket
from models.language.breaker import CircuitBreaker
from models.language.client import LanguageEngine
from models.language.errors import LanguageError
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
from service.api.assist.errors import language_failure
from service.api.assist.information import information_tools, look_up
from service.api.assist.instructions import SYSTEM, VERSION
from service.api.assist.proposals import AssistRequest, propose
from service.api.assist.schemas import AssistView, CallView, ProposedJob
from service.api.assist.tools import job_tools
from service.api.assist.translate import user_message
from service.api.errors import ApiError, ErrorCode

DEADLINE_S = 60.0
"""The longest time for a whole conversation."""
ROUNDS_MAX = 6
PROPOSED, ANSWERED = "proposed", "answered"
_MESSAGE_MAX_CHARS = 4000

Event = tuple[str, dict[str, Any]]
"""The name of a server-sent event, and its data."""


class _CountingDialect(Dialect):
    """A tool dialect that counts the requests to the language model."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self.requests = 0

    def body(self, system: str, turns: Sequence[Turn], tools: Sequence[Tool]) -> dict[str, Any]:
        self.requests += 1
        return self._dialect.body(system, turns, tools)

    def reader(self, tools: Sequence[Tool], id_prefix: str) -> Reader:
        return self._dialect.reader(tools, id_prefix)

    def tool_messages(self, turn: ToolTurn, call: ToolCall) -> list[dict[str, Any]]:
        return self._dialect.tool_messages(turn, call)


@dataclass(frozen=True, kw_only=True)
class ChatModel:
    """The language model of the conversation."""

    engine: LanguageEngine
    preset: Preset
    breaker: CircuitBreaker


@dataclass
class _Transcript:
    """The texts and tool calls so far."""

    text: str = ""
    calls: list[CallView] = field(default_factory=list)

    def add(self, call: ToolCall | None, outcome: str) -> None:
        if call is not None:
            self.calls.append(CallView(name=call.name, arguments=call.arguments, outcome=outcome))


async def conversation(
    chat_model: ChatModel, message: str, context: AssistRequest, *, is_streamed: bool
) -> AsyncGenerator[Event, None]:
    """The conversation as server-sent events; the last one is ``proposal``, with the whole answer.

    Args:
        is_streamed: whether the language model streams its text.

    Raises:
        ApiError: the language engine failed, or no valid job was proposed.
    """
    dialect, transcript = _CountingDialect(DIALECTS[chat_model.preset.tool_dialect]), _Transcript()
    talk = Conversation(
        chat_model.engine, dialect, chat_model.breaker,
        deadline_s=DEADLINE_S, rounds_max=ROUNDS_MAX, sampling=chat_model.preset.sampling,
    )  # fmt: skip
    turns = [TextTurn(role=USER, text=user_message(message, context))]
    try:
        async with aclosing(talk.run(SYSTEM, turns, _offers(context), stream=is_streamed)) as events:
            async for event in events:
                if isinstance(event, Finished):
                    transcript.add(event.call, PROPOSED)
                    yield "result", {"name": event.call.name, "outcome": PROPOSED}
                    engine = await chat_model.engine.model()
                    yield "proposal", _view(event, transcript, dialect.requests, engine).model_dump()
                else:
                    yield _event(event, transcript)
    except LanguageError as error:
        raise language_failure(error) from error


def _event(event: Text | Called | Answered | Refused, transcript: _Transcript) -> Event:
    """``event`` as a server-sent event; raises :class:`ApiError` if the conversation ended without a job."""
    match event:
        case Text(text=text):
            transcript.text += text
            return "text", {"text": text}
        case Called(call=call):
            return "call", {"name": call.name, "arguments": call.arguments}
        case Answered(call=call, error=error):
            transcript.add(call, error or ANSWERED)
            return "result", {"name": call and call.name, "outcome": error or ANSWERED}
        case Refused(reasons=reasons):
            raise ApiError(ErrorCode.NO_PROPOSAL, f"the language model proposed no valid job: {'; '.join(reasons)}")


def _view(finished: Finished, transcript: _Transcript, rounds: int, engine: str) -> AssistView:
    return AssistView(
        status=PROPOSED,
        job=ProposedJob(**finished.result),
        message=transcript.text[:_MESSAGE_MAX_CHARS],
        calls=transcript.calls,
        rounds=rounds,
        engine=engine,
        template=VERSION,
    )


def _offers(context: AssistRequest) -> list[Offer]:
    """The tools with their handlers."""
    tools = job_tools(context.catalog, len(context.images), is_change=context.job is not None)
    proposing = [Offer(tool=tool, handler=_proposer(tool.name, context)) for tool in tools]
    return [*proposing, *(Offer(tool=tool, handler=_informer(tool.name, context)) for tool in information_tools())]


def _proposer(name: str, context: AssistRequest) -> Handler:
    async def handle(arguments: dict[str, Any]) -> Final:
        try:
            return Final(result=propose(name, arguments, context))
        except InvalidTicket as error:
            raise ToolProblem(str(error)) from error

    return handle


def _informer(name: str, context: AssistRequest) -> Handler:
    async def handle(_: dict[str, Any]) -> Information:
        return Information(payload=look_up(name, context.catalog))

    return handle

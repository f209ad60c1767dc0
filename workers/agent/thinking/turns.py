"""Translates between the messages of pydantic-ai and the turns of a tool dialect."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic_ai.messages import (
    InstructionPart,
    ModelMessage,
    ModelRequest,
    ModelRequestPart,
    ModelResponse,
    ModelResponsePart,
    SystemPromptPart,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.tools import ToolDefinition

from models.errors import shortened
from models.language.schemas import violations, without_optional_nulls
from models.language.tools.arguments import checked, json_object
from models.language.tools.types import (
    USER,
    BadCall,
    Event,
    Text,
    TextTurn,
    Tool,
    ToolCall,
    ToolCallError,
    ToolTurn,
    Turn,
)

PROVIDER = "photogram"
"""pydantic-ai's name of who serves the model."""
CALLS_MAX = 4
"""Further calls in one answer are dropped."""
RESULT_MAX_CHARS = 4000
"""The length limit of a tool's result in a request."""
SAID_MAX_CHARS = 1000
"""The length limit of the model's own text in a request."""
_FENCES = re.compile(r"\A\s*```\w*\s*|\s*```\s*\Z")
_REASON = "reason"
"""The key of what was wrong with an answer, in the details of the part that has its text."""


class Untranslatable(ValueError):
    """A message has a part that no tool dialect can express, for example an image."""


def tool_of(definition: ToolDefinition) -> Tool:
    """The tool as dialects know it."""
    return Tool(
        name=definition.name,
        description=definition.description or "",
        parameters=definition.parameters_json_schema,
    )


def system_of(messages: Sequence[ModelMessage], instructions: Sequence[InstructionPart]) -> str:
    """The system prompt: the constant texts of the planner, and what pydantic-ai adds to them."""
    parts = (part for message in messages if isinstance(message, ModelRequest) for part in message.parts)
    standing = [part.content for part in parts if isinstance(part, SystemPromptPart)]
    return "\n\n".join([*standing, *(part.content for part in instructions)])


def turns_of(messages: Iterable[ModelMessage]) -> list[Turn]:
    """The conversation without its system prompt.

    Raises:
        Untranslatable.
    """
    turns: list[Turn] = []
    answer = ModelResponse(parts=[])
    for message in messages:
        if isinstance(message, ModelResponse):
            answer = message
        else:
            turns += _turns_after(answer, message.parts)
            answer = ModelResponse(parts=[])
    return turns


def _turns_after(answer: ModelResponse, parts: Sequence[ModelRequestPart]) -> list[Turn]:
    """``answer`` with what was replied to it."""
    text, reason = _said(answer)
    calls = {call.tool_call_id: call for call in answer.tool_calls}
    turns: list[Turn] = []
    for part in parts:
        if isinstance(part, SystemPromptPart):
            continue
        if isinstance(part, ToolReturnPart):
            turns.append(_tool_turn(text, calls.get(part.tool_call_id), part))
        elif not isinstance(part, UserPromptPart) or not isinstance(part.content, str):
            raise Untranslatable(f"the language model cannot be sent a part of the type {type(part).__name__}")
        elif text or reason:
            reply = "\n".join(filter(None, (reason, part.content)))
            turns.append(ToolTurn(text=text, call=None, answer=reply, is_error=True))
        else:
            turns.append(TextTurn(role=USER, text=part.content))
        text = reason = ""
    return turns


def _said(answer: ModelResponse) -> tuple[str, str]:
    """The text of an answer, and what was wrong with it."""
    texts = [part for part in answer.parts if isinstance(part, TextPart)]
    reasons = [str(part.provider_details[_REASON]) for part in texts if part.provider_details]
    return "\n".join(part.content for part in texts)[:SAID_MAX_CHARS], "\n".join(reasons)


def _tool_turn(text: str, call: ToolCallPart | None, result: ToolReturnPart) -> ToolTurn:
    """A call with its result; a call that is unknown or unreadable is shown as text."""
    answer = result.model_response_str()
    if len(answer) > RESULT_MAX_CHARS:
        answer = f"{answer[:RESULT_MAX_CHARS]} ... (shortened)"
    is_error = result.outcome != "success"
    arguments = None if call is None else _arguments(call)
    if call is None or arguments is None:
        raw = "" if call is None else f"{call.tool_name}: {call.args}"
        return ToolTurn(text=f"{text}\n{raw}"[:SAID_MAX_CHARS].strip(), call=None, answer=answer, is_error=is_error)
    read = ToolCall(id=call.tool_call_id, name=call.tool_name, arguments=arguments)
    return ToolTurn(text=text, call=read, answer=answer, is_error=is_error)


def _arguments(call: ToolCallPart) -> dict[str, Any] | None:
    try:
        return call.args_as_dict(raise_if_invalid=True)
    except (ValueError, AssertionError):
        return None


def parts_of(events: Iterable[Event], tools: Sequence[Tool], nth: int, cut_off: str | None) -> list[ModelResponsePart]:
    """The parts of the ``nth`` answer: its text and its calls up to the first unreadable one.

    Args:
        cut_off: what the model is told if the answer ended in the middle and has no call.
    """
    schemas = {tool.name: tool.parameters for tool in tools}
    text, calls, bad = "", list[ToolCallPart](), None
    for event in events:
        match event:
            case Text(text=piece):
                text += piece
            case ToolCall() if len(calls) < CALLS_MAX:
                calls.append(_call_part(event, schemas, call_id(nth, len(calls) + 1)))
            case BadCall():
                bad = event
                break
    if calls:
        return [*([TextPart(content=text)] if text else []), *calls]
    raw = "\n".join(filter(None, (text, bad.raw if bad else "")))
    if (meant := _meant(raw, tools)) is not None:
        return [ToolCallPart(tool_name=meant[0].name, args=meant[1], tool_call_id=call_id(nth, 1))]
    reasons = [reason for reason in (cut_off, bad and bad.reason) if reason]
    if not raw and not reasons:
        return []
    details = {_REASON: "; ".join(reasons)} if reasons else None
    return [TextPart(content=raw or "...", provider_name=PROVIDER, provider_details=details)]


def _meant(raw: str, tools: Sequence[Tool]) -> tuple[Tool, dict[str, Any]] | None:
    """The tool whose arguments alone a model wrote, as small ones do, if they fit just one tool."""
    try:
        given = checked(json_object(_FENCES.sub("", raw)))
    except ToolCallError:
        return None
    read = [(tool, without_optional_nulls(tool.parameters, given)) for tool in tools if tool.parameters.get("required")]
    fitting = [(tool, arguments) for tool, arguments in read if not violations(tool.parameters, arguments)]
    return fitting[0] if len(fitting) == 1 else None


def _call_part(call: ToolCall, schemas: Mapping[str, Mapping[str, Any]], id: str) -> ToolCallPart:
    schema = schemas.get(call.name)
    arguments = call.arguments if schema is None else without_optional_nulls(schema, call.arguments)
    return ToolCallPart(tool_name=shortened(call.name), args=arguments, tool_call_id=id)


def call_id(nth: int, place: int) -> str:
    """The id of a call: the number of the answer in its conversation, and the place of the call in it."""
    return f"call-{nth}-{place}"

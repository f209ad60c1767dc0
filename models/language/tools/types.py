"""Tools, tool calls, and the turns of a conversation with a language model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.errors import PhotogramError

USER, ASSISTANT = "user", "assistant"
"""The roles of turns; the system prompt is not a turn."""


@dataclass(frozen=True, kw_only=True)
class Example:
    """An example request, and the arguments of the right call."""

    request: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A tool that the model can call."""

    name: str
    """1 to 64 letters, digits, ``_`` and ``-``."""
    description: str
    parameters: Mapping[str, Any]
    """A JSON schema of an object, without ``$ref``."""
    examples: tuple[Example, ...] = ()
    """For models that were not trained on tools; they learn more from examples than from the schema."""


@dataclass(frozen=True, kw_only=True)
class ToolCall:
    """A parsed call; its name and arguments are not validated yet."""

    id: str
    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class BadCall:
    """A call that could not be parsed."""

    reason: str
    """The error message for the model."""
    raw: str
    """The model's text, possibly truncated."""


@dataclass(frozen=True, kw_only=True)
class Text:
    """A piece of text for the user."""

    text: str


Event = Text | ToolCall | BadCall
"""One part of an answer."""


@dataclass(frozen=True, kw_only=True)
class TextTurn:
    """A turn without tools; its text is data, whoever wrote it."""

    role: str
    """``USER`` or ``ASSISTANT``."""
    text: str


@dataclass(frozen=True, kw_only=True)
class ToolTurn:
    """A turn in which the model called a tool, or tried to, with the result."""

    text: str
    """The model's text before the call."""
    call: ToolCall | None
    """``None`` if no call could be parsed."""
    answer: str
    """The tool's result as JSON text, or an error message."""
    is_error: bool


Turn = TextTurn | ToolTurn


class ToolCallError(PhotogramError, ValueError):
    """A call cannot be parsed; the message is for the model."""

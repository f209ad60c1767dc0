"""Tools, calls of them, and what a conversation with a language model is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.errors import PhotogramError

USER, ASSISTANT = "user", "assistant"
"""Who says something; a system prompt is no turn."""


@dataclass(frozen=True, kw_only=True)
class Example:
    """A wish, and the arguments of the call that it should become."""

    wish: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Tool:
    """Something that the model may ask for."""

    name: str
    """1 to 64 letters, digits, ``_`` and ``-``."""
    description: str
    parameters: Mapping[str, Any]
    """A JSON schema of an object, complete in itself: no ``$ref``."""
    examples: tuple[Example, ...] = ()
    """For models that were not trained on tools, which learn from them more than from the schema."""


@dataclass(frozen=True, kw_only=True)
class ToolCall:
    """A call that could be read; whether there is such a tool, and the arguments suit it, is not checked yet."""

    id: str
    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class BadCall:
    """A call that could not be read."""

    reason: str
    """For the model to act upon."""
    raw: str
    """What it wrote, or the beginning of that."""


@dataclass(frozen=True, kw_only=True)
class Text:
    """A piece of what the model says to the user."""

    text: str


Event = Text | ToolCall | BadCall
"""What an answer consists of, in order."""


@dataclass(frozen=True, kw_only=True)
class Said:
    """A turn without tools; the text is data, whoever wrote it."""

    role: str
    """``USER`` or ``ASSISTANT``."""
    text: str


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """A turn in which the model called a tool, or failed to, and what it was told."""

    text: str
    """What it said before."""
    call: ToolCall | None
    """``None`` if it made no call that could be read."""
    answer: str
    """The tool's result as JSON text, or what was wrong, in words."""
    is_error: bool


Turn = Said | Exchange


class ToolCallError(PhotogramError, ValueError):
    """A call that cannot be read; the message is for the model."""

"""The chat format of the World models: each turn begins with its speaker and ends with an empty line.

System: Answer in one word.

User: What is the capital of France?

Assistant:
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

TURN_END = "\n\n"
"""Ends every turn, including the model's own. Empty lines within a turn are removed."""
SPEAKERS: Mapping[str, str] = MappingProxyType(
    {"system": "System", "developer": "System", "user": "User", "assistant": "Assistant"}
)
"""The speaker's name for each role of a message."""


@dataclass(frozen=True)
class Message:
    """One message; ``role`` is one of :data:`SPEAKERS`."""

    role: str
    text: str


def render(messages: Sequence[Message], *, ask: bool = True, continue_last: bool = False) -> str:
    """The conversation as a prompt.

    Message text cannot start a turn of its own: turns are separated by empty lines, and those are removed from text.

    Args:
        messages: The turns, oldest first.
        ask: End with the start of an assistant's turn, for the model to complete.
        continue_last: Leave the last turn open instead, for the model to continue.
    """
    turns = [_turn(message) for message in messages]
    last = turns.pop() if continue_last else f"{SPEAKERS['assistant']}:" if ask else ""
    return "".join(turn.rstrip() + TURN_END for turn in turns) + last


def _turn(message: Message) -> str:
    text = "\n".join(line for line in message.text.splitlines() if not line.isspace() and line).lstrip()
    return f"{SPEAKERS[message.role]}: {text}" if text else f"{SPEAKERS[message.role]}:"

"""The chat format of the World models: turns that say who speaks, with an empty line after each.

System: Answer in one word.

User: What is the capital of France?

Assistant:
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

TURN_END = "\n\n"
"""What ends a turn, the model's own too. Within a turn there are no empty lines: they are left out."""
SPEAKERS: Mapping[str, str] = MappingProxyType(
    {"system": "System", "developer": "System", "user": "User", "assistant": "Assistant"}
)
"""Who speaks, by the role of a message."""


@dataclass(frozen=True)
class Message:
    """One message; ``role`` is one of :data:`SPEAKERS`."""

    role: str
    text: str


def render(messages: Sequence[Message], *, ask: bool = True, continue_last: bool = False) -> str:
    """The conversation as the model reads it.

    No text can pretend to be a turn of its own, for turns are set apart by an empty line, and no text has one.

    Args:
        messages: In order.
        ask: End with the start of the assistant's turn, which the model then writes.
        continue_last: Leave the last turn open instead, so that the model goes on with it.
    """
    turns = [_turn(message) for message in messages]
    last = turns.pop() if continue_last else f"{SPEAKERS['assistant']}:" if ask else ""
    return "".join(turn.rstrip() + TURN_END for turn in turns) + last


def _turn(message: Message) -> str:
    text = "\n".join(line for line in message.text.splitlines() if not line.isspace() and line).lstrip()
    return f"{SPEAKERS[message.role]}: {text}" if text else f"{SPEAKERS[message.role]}:"

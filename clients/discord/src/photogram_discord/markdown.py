"""Texts of other people and programs in messages: without effect as Markdown or mention, and not too long."""

from __future__ import annotations

import discord

_DIRECTIONS = dict.fromkeys((*range(0x202A, 0x202F), *range(0x2066, 0x206A)))
"""The characters that turn the direction of the text after them, also of what the bot writes there."""


def escaped(text: object, max_chars: int) -> str:
    """`text` as Discord shows it literally, in at most `max_chars` characters; line ends are kept."""
    shown = discord.utils.escape_mentions(discord.utils.escape_markdown(str(text).translate(_DIRECTIONS)))
    return shortened(shown.replace("<", "\\<"), max_chars)


def in_line(text: object, max_chars: int) -> str:
    """Like `escaped`, in one line."""
    return escaped(" ".join(str(text).split()), max_chars)


def shortened(text: str, max_chars: int) -> str:
    """`text` in at most `max_chars` characters, with an ellipsis at the end if some are left out."""
    return text if len(text) <= max_chars else text[: max_chars - 1].rstrip("\\") + "…"

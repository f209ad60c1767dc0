"""The forms that the bot opens."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import discord
from discord import ui

TEXT_MAX_CHARS = 4000
"""The most that Discord takes in a text input."""


class _Form(ui.Modal):
    """A failure of what a form does is explained to the person who submitted it."""

    async def on_error(self, interaction: discord.Interaction[Any], error: Exception, /) -> None:  # type: ignore[override]  # as ui.Modal
        await interaction.client.explain(interaction, error)


class TextModal(_Form):
    """Asks for a text, such as a prompt, and calls `on_text` with it."""

    def __init__(
        self, title: str, label: str, text: str, on_text: Callable[[discord.Interaction[Any], str], Awaitable[None]]
    ) -> None:
        super().__init__(title=title)
        self._on_text = on_text
        self._text: ui.TextInput[Any] = ui.TextInput(
            style=discord.TextStyle.paragraph, default=text[:TEXT_MAX_CHARS] or None, max_length=TEXT_MAX_CHARS
        )
        self.add_item(ui.Label(text=label, component=self._text))

    async def on_submit(self, interaction: discord.Interaction[Any], /) -> None:
        await self._on_text(interaction, self._text.value)


class KeyModal(_Form):
    """Asks for an API key; a form keeps it out of the channel."""

    def __init__(self, on_key: Callable[[discord.Interaction[Any], str], Awaitable[None]]) -> None:
        super().__init__(title="API key of this server")
        self._on_key = on_key
        self._key: ui.TextInput[Any] = ui.TextInput(required=False, max_length=200)
        self.add_item(ui.Label(text="Photogram API key; empty removes it", component=self._key))

    async def on_submit(self, interaction: discord.Interaction[Any], /) -> None:
        await self._on_key(interaction, self._key.value.strip())

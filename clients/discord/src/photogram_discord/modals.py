"""The forms that the bot opens."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import discord
from discord import ui

PROMPT_MAX_CHARS = 4000
"""The most that Discord takes in a text input."""


class _Form(ui.Modal):
    """A failure of what a form does is explained to the person who submitted it."""

    async def on_error(self, interaction: discord.Interaction[Any], error: Exception, /) -> None:  # type: ignore[override]  # as ui.Modal
        await interaction.client.explain(interaction, error)


class PromptModal(_Form):
    """Asks for a prompt and calls `on_prompt` with it."""

    def __init__(
        self, title: str, prompt: str, on_prompt: Callable[[discord.Interaction[Any], str], Awaitable[None]]
    ) -> None:
        super().__init__(title=title)
        self._on_prompt = on_prompt
        self._prompt: ui.TextInput[Any] = ui.TextInput(
            style=discord.TextStyle.paragraph, default=prompt[:PROMPT_MAX_CHARS] or None, max_length=PROMPT_MAX_CHARS
        )
        self.add_item(ui.Label(text="Prompt", component=self._prompt))

    async def on_submit(self, interaction: discord.Interaction[Any], /) -> None:
        await self._on_prompt(interaction, self._prompt.value)


class AnswerModal(_Form):
    """Asks for the answer to a question of an agent and calls `on_answer` with it."""

    def __init__(self, on_answer: Callable[[discord.Interaction[Any], str], Awaitable[None]]) -> None:
        super().__init__(title="Answer")
        self._on_answer = on_answer
        self._answer: ui.TextInput[Any] = ui.TextInput(style=discord.TextStyle.paragraph, max_length=PROMPT_MAX_CHARS)
        self.add_item(ui.Label(text="Your answer", component=self._answer))

    async def on_submit(self, interaction: discord.Interaction[Any], /) -> None:
        await self._on_answer(interaction, self._answer.value)


class KeyModal(_Form):
    """Asks for an API key; a form keeps it out of the channel."""

    def __init__(self, on_key: Callable[[discord.Interaction[Any], str], Awaitable[None]]) -> None:
        super().__init__(title="API key of this server")
        self._on_key = on_key
        self._key: ui.TextInput[Any] = ui.TextInput(required=False, max_length=200)
        self.add_item(ui.Label(text="Photogram API key; empty removes it", component=self._key))

    async def on_submit(self, interaction: discord.Interaction[Any], /) -> None:
        await self._on_key(interaction, self._key.value.strip())

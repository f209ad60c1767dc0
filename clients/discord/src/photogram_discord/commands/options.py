"""What several commands share: the options of images, their autocomplete and the defaults of users."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import discord
from discord import app_commands

from ..listings import SIZES
from ..store import user_scope

if TYPE_CHECKING:
    from ..bot import PhotogramBot

Interaction: TypeAlias = discord.Interaction[Any]
SIZE_CHOICES = [app_commands.Choice(name=size, value=size) for size in SIZES]
DEFAULTS = {"model": "model", "size": "aspect_ratio", "style": "style_preset", "steps": "num_inference_steps"}
"""The options for which a user can set a default, and their names as parameters."""

Autocomplete: TypeAlias = Callable[[Interaction, str], Coroutine[Any, Any, list[app_commands.Choice[str]]]]


def autocomplete(bot: PhotogramBot, option: str) -> Autocomplete:
    """The choices for `option` that the server of the guild offers."""

    async def choices(interaction: Interaction, typed: str) -> list[app_commands.Choice[str]]:
        return await bot.listings.choices(bot.servers.client(interaction.guild_id), option, typed)

    return choices


def with_defaults(bot: PhotogramBot, interaction: Interaction, params: Mapping[str, Any]) -> dict[str, Any]:
    """`params` without None, and with the user's defaults where they leave something out."""
    defaults = bot.store.settings(user_scope(interaction.user.id))
    return {**defaults, **{name: value for name, value in params.items() if value is not None}}

"""`/settings`: the defaults of a user, and the limits, key and words of a guild."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import discord
from discord import app_commands

from ..modals import KeyModal
from ..rules import MAX_COUNT
from ..store import guild_scope, user_scope
from .options import DEFAULTS, SIZE_CHOICES, Interaction, autocomplete

if TYPE_CHECKING:
    from ..bot import PhotogramBot

SECRET = ("api_key",)


def add_to(bot: PhotogramBot) -> None:
    group = app_commands.Group(name="settings", description="Your defaults, and the limits of this server")
    _add_own(group, bot)
    _add_guild(group, bot)
    bot.tree.add_command(group)


def _add_own(group: app_commands.Group, bot: PhotogramBot) -> None:
    @group.command(description="Show your defaults and what holds here")
    async def show(interaction: Interaction) -> None:
        own = bot.store.settings(user_scope(interaction.user.id))
        here = {} if interaction.guild_id is None else bot.store.settings(guild_scope(interaction.guild_id))
        text = f"**Your defaults**\n{_listed(own)}\n**This server**\n{_listed(here)}"
        await interaction.response.send_message(text, ephemeral=True)

    @group.command(description="Set your defaults; what you leave out is removed")
    @app_commands.choices(size=SIZE_CHOICES)
    @app_commands.autocomplete(model=autocomplete(bot, "model"), style=autocomplete(bot, "style"))
    async def mine(
        interaction: Interaction,
        model: str | None = None,
        size: str | None = None,
        style: str | None = None,
        steps: app_commands.Range[int, 1, 150] | None = None,
    ) -> None:
        given = {"model": model, "size": size, "style": style, "steps": steps}
        changes = {DEFAULTS[name]: value for name, value in given.items()}
        settings = bot.store.change_settings(user_scope(interaction.user.id), changes)
        await interaction.response.send_message(f"**Your defaults**\n{_listed(settings)}", ephemeral=True)


def _add_guild(group: app_commands.Group, bot: PhotogramBot) -> None:
    @group.command(description="Limit members, or those with a role; what you leave out is not limited")
    @app_commands.describe(daily="Images of one member in a day", count="Images at once", steps="Denoising steps")
    @app_commands.check(_is_manager)
    async def limits(
        interaction: Interaction,
        daily: app_commands.Range[int, 0] | None = None,
        count: app_commands.Range[int, 1, MAX_COUNT] | None = None,
        steps: app_commands.Range[int, 1] | None = None,
        role: discord.Role | None = None,
    ) -> None:
        given = {"daily": daily, "count": count, "steps": steps}
        set_here = {name: value for name, value in given.items() if value is not None}
        scope = guild_scope(interaction.guild_id or 0)
        changes: dict[str, Any] = {"limits": set_here}
        if role is not None:
            changes = {"role_limits": {**bot.store.settings(scope).get("role_limits", {}), str(role.id): set_here}}
        await _change(interaction, scope, changes)

    @group.command(description="Words that prompts may have in age-restricted channels only")
    @app_commands.describe(words="Separated by commas; empty removes all")
    @app_commands.check(_is_manager)
    async def adult(interaction: Interaction, words: str = "") -> None:
        found = [word.strip() for word in words.split(",") if word.strip()]
        await _change(interaction, guild_scope(interaction.guild_id or 0), {"adult_words": found or None})

    @group.command(description="Set the API key that this server's jobs use")
    @app_commands.check(_is_manager)
    async def key(interaction: Interaction) -> None:
        async def entered(submission: Interaction, api_key: str) -> None:
            await _change(submission, guild_scope(submission.guild_id or 0), {"api_key": api_key or None})

        await interaction.response.send_modal(KeyModal(entered))

    async def _change(interaction: Interaction, scope: str, changes: dict[str, Any]) -> None:
        settings = bot.store.change_settings(scope, changes)
        await interaction.response.send_message(f"**This server**\n{_listed(settings)}", ephemeral=True)


def _is_manager(interaction: Interaction) -> bool:
    if interaction.guild_id is None or not interaction.permissions.manage_guild:
        raise app_commands.CheckFailure(
            "Only members with the permission “Manage Server” may change that, in their server."
        )
    return True


def _listed(settings: dict[str, Any]) -> str:
    shown = {name: "set" if name in SECRET else value for name, value in settings.items()}
    return "\n".join(f"{name}: {value}" for name, value in shown.items()) or "none"

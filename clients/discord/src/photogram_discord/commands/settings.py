"""`/settings`: the defaults of a user, and the limits, key and words of a guild."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import discord
from discord import app_commands

from ..cards import Card
from ..errors import Refused
from ..markdown import in_line, shortened
from ..modals import KeyModal
from ..rules import MAX_COUNT
from ..store import guild_scope, user_scope
from .options import DEFAULTS, SIZE_CHOICES, Interaction, autocomplete

if TYPE_CHECKING:
    from ..bot import PhotogramBot

_NO_RULES = "**This server**\nno rules of its own"
MAX_WORDS, WORD_MAX_CHARS = 100, 50


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
        await _say(interaction, f"{_own_defaults(own)}\n{_guild_rules(here)}")

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
        await _say(interaction, _own_defaults(settings))


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
        await _change(interaction, guild_scope(interaction.guild_id or 0), {"adult_words": _words_in(words) or None})

    @group.command(description="Set the API key that this server's jobs use")
    @app_commands.check(_is_manager)
    async def key(interaction: Interaction) -> None:
        async def entered(submission: Interaction, api_key: str) -> None:
            await submission.response.defer(thinking=True, ephemeral=True)
            if api_key:
                await bot.servers.check_key(api_key)
            await _change(submission, guild_scope(submission.guild_id or 0), {"api_key": api_key or None})

        await interaction.response.send_modal(KeyModal(entered))

    async def _change(interaction: Interaction, scope: str, changes: dict[str, Any]) -> None:
        await _say(interaction, _guild_rules(bot.store.change_settings(scope, changes)))


def _is_manager(interaction: Interaction) -> bool:
    if interaction.guild_id is None or not interaction.permissions.manage_guild:
        raise app_commands.CheckFailure(
            "Only members with the permission “Manage Server” may change that, in their server."
        )
    return True


def _words_in(text: str) -> list[str]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    if len(words) > MAX_WORDS or any(len(word) > WORD_MAX_CHARS for word in words):
        raise Refused(f"At most {MAX_WORDS} words of {WORD_MAX_CHARS} characters can be kept.")
    return words


async def _say(interaction: Interaction, text: str) -> None:
    view = Card((text,)).view()
    if interaction.response.is_done():
        await interaction.edit_original_response(view=view)
    else:
        await interaction.response.send_message(view=view, ephemeral=True)


def _own_defaults(settings: dict[str, Any]) -> str:
    lines = [f"{name}: {in_line(settings[param], 100)}" for name, param in DEFAULTS.items() if param in settings]
    return "\n".join(["**Your defaults**", *(lines or ["none"])])


def _guild_rules(settings: dict[str, Any]) -> str:
    lines = [_limits("each member", settings.get("limits"))]
    lines += [_limits(f"<@&{role}>", limits) for role, limits in settings.get("role_limits", {}).items()]
    if "adult_words" in settings:
        words = in_line(", ".join(settings["adult_words"]), 1000)
        lines.append(f"in age-restricted channels only: {words}")
    if "api_key" in settings:
        lines.append("API key: one of its own")
    return shortened("\n".join(["**This server**", *filter(None, lines)]), 3000) if any(lines) else _NO_RULES


def _limits(whose: str, limits: dict[str, int] | None) -> str:
    """The limits of `whose` in one line, empty if there are none."""
    return f"{whose}: " + ", ".join(f"{name} at most {value}" for name, value in limits.items()) if limits else ""

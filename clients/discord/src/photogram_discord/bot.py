"""The bot: its connection to Discord, its commands and buttons, and what it owns."""

from __future__ import annotations

import logging
from typing import Any

import discord
from discord import app_commands

from . import commands
from .artist import Artist
from .buttons import ImageSelect, JobButton
from .cards import failure_card
from .config import Config
from .errors import explained
from .listings import Listings
from .rules import Rules
from .servers import Servers
from .store import Store

log = logging.getLogger(__name__)


class PhotogramBot(discord.Client):
    """One connection to Discord. It needs the intent `guilds` only: it reads no messages of people."""

    def __init__(self, config: Config) -> None:
        super().__init__(
            intents=discord.Intents(guilds=True), max_messages=None, allowed_mentions=discord.AllowedMentions.none()
        )
        self.store = Store(config.data)
        self.servers = Servers(config, self.store)
        self.rules = Rules(config, self.store)
        self.listings = Listings()
        self.artist = Artist(self)
        self.tree: app_commands.CommandTree[PhotogramBot] = app_commands.CommandTree(
            self,
            allowed_contexts=app_commands.AppCommandContext(guild=True, dm_channel=True, private_channel=True),
            allowed_installs=app_commands.AppInstallationType(guild=True, user=True),
        )
        self.tree.error(self._command_failed)
        commands.add_to(self)

    async def setup_hook(self) -> None:
        """Register the commands and buttons, and take up the drawings that were pending when the bot stopped."""
        self.add_dynamic_items(JobButton, ImageSelect)
        await self.tree.sync()
        for drawing in self.store.pending():
            self.artist.follow(drawing)

    async def close(self) -> None:
        await self.artist.close()
        await super().close()
        await self.servers.close()
        self.store.close()

    async def refuse(self, interaction: discord.Interaction[Any], reason: str) -> None:
        """Tell the user of `interaction`, and nobody else, why it is refused."""
        if interaction.response.is_done():
            await interaction.followup.send(reason, ephemeral=True)
        else:
            await interaction.response.send_message(reason, ephemeral=True)

    async def _command_failed(
        self, interaction: discord.Interaction[PhotogramBot], error: app_commands.AppCommandError
    ) -> None:
        cause = error.original if isinstance(error, app_commands.CommandInvokeError) else error
        if isinstance(cause, discord.NotFound) and cause.code == 10062:
            log.warning("Discord had given up an interaction before the bot answered it")
            return
        log.error("a command failed", exc_info=cause)
        reason = str(cause) if isinstance(cause, app_commands.CheckFailure) else explained(cause)
        if interaction.response.is_done():
            await interaction.edit_original_response(view=failure_card("", reason).view())
        else:
            await self.refuse(interaction, reason)

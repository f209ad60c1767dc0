"""The bot: its connection to Discord, its commands and buttons, and what it owns."""

from __future__ import annotations

import contextlib
import logging
from typing import Any

import aiohttp
import discord
from discord import app_commands
from photogram import PhotogramError

from . import commands
from .artist import Artist
from .buttons import ChoiceSelect, ImageSelect, JobButton
from .cards import Card, failure_card
from .config import Config
from .errors import Refused, explained
from .files import Files
from .follower import Follower
from .listings import Listings
from .rules import Rules
from .servers import Servers
from .store import Store

RESTARTED = "I was restarted before I could begin. Please ask me again."
UNANSWERABLE = (10062, 40060)
"""Discord's codes for an interaction that it has given up, as it was not answered within three seconds, and for one
that was answered before, as it was sent twice."""

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
        self.files = Files()
        self.artist = Artist(self)
        self.follower = Follower(self)
        self.tree: app_commands.CommandTree[PhotogramBot] = app_commands.CommandTree(
            self,
            allowed_contexts=app_commands.AppCommandContext(guild=True, dm_channel=True, private_channel=True),
            allowed_installs=app_commands.AppInstallationType(guild=True, user=True),
        )
        self.tree.error(self._command_failed)
        commands.add_to(self)

    async def setup_hook(self) -> None:
        """Register the commands and buttons, and take up what was left when the bot stopped."""
        self.add_dynamic_items(JobButton, ImageSelect, ChoiceSelect)
        await self.tree.sync()
        for number, channel, message in self.store.opened():
            await self._say_that_it_was_restarted(number, channel, message)
        for drawing in self.store.pending():
            self.follower.follow(drawing)

    async def close(self) -> None:
        await self.artist.close()
        await self.follower.close()
        await super().close()
        await self.listings.close()
        await self.servers.close()
        await self.files.close()
        self.store.close()

    async def explain(self, interaction: discord.Interaction[Any], error: Exception, prompt: str = "") -> None:
        """Tell people why nothing comes of `interaction`: in the message that waits for it, else to its user alone."""
        if isinstance(error, discord.HTTPException) and error.code in UNANSWERABLE:
            log.warning("an interaction cannot be answered: %s", error)
            return
        if not isinstance(error, PhotogramError | Refused):
            log.error("an interaction failed", exc_info=error)
        try:
            await _answer(interaction, failure_card(prompt, explained(error)))
        except (discord.HTTPException, aiohttp.ClientError) as failure:
            log.warning("an interaction cannot be answered: %s", failure)
        self.store.close_opened(interaction.id)

    async def _command_failed(
        self, interaction: discord.Interaction[PhotogramBot], error: app_commands.AppCommandError
    ) -> None:
        if isinstance(error, app_commands.CheckFailure):
            await self.explain(interaction, Refused(str(error)))
        else:
            await self.explain(interaction, getattr(error, "original", error))

    async def _say_that_it_was_restarted(self, number: int, channel: int, message: int) -> None:
        place = self.get_partial_messageable(channel).get_partial_message(message)
        with contextlib.suppress(discord.HTTPException):
            await place.edit(view=failure_card("", RESTARTED).view())
        self.store.close_opened(number)


async def _answer(interaction: discord.Interaction[Any], card: Card) -> None:
    if interaction.response.type is discord.InteractionResponseType.deferred_channel_message:
        await interaction.edit_original_response(view=card.view())
    elif interaction.response.is_done():
        await interaction.followup.send(view=card.view(), ephemeral=True)
    else:
        await interaction.response.send_message(view=card.view(), ephemeral=True)

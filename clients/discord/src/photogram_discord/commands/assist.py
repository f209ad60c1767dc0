"""`/assist`: a request in plain words of any language, which the server's language model turns into a job."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord
from discord import app_commands

from ..images import given_in
from .options import Interaction

if TYPE_CHECKING:
    from ..bot import PhotogramBot


def add_to(bot: PhotogramBot) -> None:
    @bot.tree.command(description="Say in your own words, in any language, which image you want")
    @app_commands.describe(request="What you want", image="An image to start from")
    async def assist(
        interaction: Interaction,
        request: app_commands.Range[str, 1, 2000],
        image: discord.Attachment | None = None,
    ) -> None:
        await bot.artist.start_by_words(interaction, request, None if image is None else given_in(bot.files, image))

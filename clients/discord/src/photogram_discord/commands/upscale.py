"""`/upscale`: a larger image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import discord
from discord import app_commands
from photogram import AsyncPhotogram

from ..images import GivenImage, given_in
from .options import Interaction, autocomplete

if TYPE_CHECKING:
    from ..bot import PhotogramBot


def add_to(bot: PhotogramBot) -> None:
    @bot.tree.command(description="Enlarge an image")
    @app_commands.describe(image="The image", scale="The factor, 2 if left out", upscaler="The upscaler")
    @app_commands.autocomplete(upscaler=autocomplete(bot, "upscaler"))
    async def upscale(
        interaction: Interaction,
        image: discord.Attachment,
        scale: app_commands.Range[float, 1, 8] = 2.0,
        upscaler: str | None = None,
    ) -> None:
        params = {"scale": scale} | ({"upscaler": upscaler} if upscaler else {})
        await start(bot, interaction, given_in(bot.files, image), params)


async def start(bot: PhotogramBot, interaction: Interaction, image: GivenImage, params: dict[str, Any]) -> None:
    """Start a drawing that enlarges `image`."""

    async def with_image(server: AsyncPhotogram) -> dict[str, Any]:
        return {**params, "image": await image.upload(server)}

    await bot.artist.start(interaction, "upscale", params, prepare=with_image)

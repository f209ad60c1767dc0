"""The context menus of messages: Info, Upscale, Use as input."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord

from ..images import first_in
from ..modals import TextModal
from . import edit, info, upscale
from .options import Interaction

if TYPE_CHECKING:
    from ..bot import PhotogramBot


def add_to(bot: PhotogramBot) -> None:
    @bot.tree.context_menu(name="Info")
    async def show_info(interaction: Interaction, message: discord.Message) -> None:
        await info.show(bot, interaction, first_in(bot.files, message))

    @bot.tree.context_menu(name="Upscale")
    async def enlarge(interaction: Interaction, message: discord.Message) -> None:
        await upscale.start(bot, interaction, first_in(bot.files, message), {"scale": 2.0})

    @bot.tree.context_menu(name="Use as input")
    async def use_as_input(interaction: Interaction, message: discord.Message) -> None:
        image = first_in(bot.files, message)

        async def submitted(submission: Interaction, prompt: str) -> None:
            await edit.start(bot, submission, image, {"prompt": prompt})

        await interaction.response.send_modal(TextModal("Change this image", "Prompt", "", submitted))

"""`/agent`: several finished images from a brief; it asks in its message, where buttons answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import discord
from discord import app_commands
from photogram import AsyncPhotogram

from ..images import given_in
from .options import Interaction

if TYPE_CHECKING:
    from ..bot import PhotogramBot

IMAGES = 12
"""What an agent may draw unless people say otherwise: a story in 4 panels, each of which needs three tries."""


def add_to(bot: PhotogramBot) -> None:
    @bot.tree.command(description="Have images planned, drawn and checked from a brief")
    @app_commands.describe(
        brief="A story in 4 panels about ..., 6 icons of ..., a cup in 5 colours ...",
        image="An image that it is about",
        images="The most that it may draw, tries included; they count for your day",
        seed="The same seed gives the same images",
    )  # fmt: skip
    async def agent(
        interaction: Interaction,
        brief: app_commands.Range[str, 1, 4000],
        image: discord.Attachment | None = None,
        images: app_commands.Range[int, 1, 24] = IMAGES,
        seed: app_commands.Range[int, 0, 2**53 - 1] | None = None,
    ) -> None:
        params: dict[str, Any] = {"brief": brief, "mode": "ask", "budget": {"images": images}}
        if seed is not None:
            params["seed"] = seed

        async def with_image(server: AsyncPhotogram) -> dict[str, Any]:
            if image is None:
                return params
            return {**params, "files": [await given_in(bot.files, image).upload(server)]}

        await bot.artist.start(interaction, "agent", params, prepare=with_image)

"""`/edit`: a new image from an attachment and words, in the whole image or within a mask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import discord
from discord import app_commands
from photogram import AsyncPhotogram

from ..images import GivenImage, given_in
from ..rules import MAX_COUNT
from .options import Interaction, autocomplete, with_defaults

if TYPE_CHECKING:
    from ..bot import PhotogramBot


def add_to(bot: PhotogramBot) -> None:
    @bot.tree.command(description="Change an image by words")
    @app_commands.describe(
        image="The image to start from", prompt="What the new image shows",
        mask="What is white or opaque in it is generated anew", strength="How much changes, 0 to 1", model="The model",
        seed="The same seed gives the same image", count="How many images",
    )  # fmt: skip
    @app_commands.autocomplete(model=autocomplete(bot, "model"))
    async def edit(
        interaction: Interaction,
        image: discord.Attachment,
        prompt: app_commands.Range[str, 1, 4000],
        mask: discord.Attachment | None = None,
        strength: app_commands.Range[float, 0, 1] | None = None,
        model: str | None = None,
        seed: app_commands.Range[int, 0, 2**53 - 1] | None = None,
        count: app_commands.Range[int, 1, MAX_COUNT] = 1,
    ) -> None:
        given = {"prompt": prompt, "strength": strength, "model": model, "seed": seed}
        within = None if mask is None else given_in(bot.files, mask)
        await start(bot, interaction, given_in(bot.files, image), given, mask=within, count=count)


async def start(
    bot: PhotogramBot,
    interaction: Interaction,
    image: GivenImage,
    given: Mapping[str, Any],
    *,
    mask: GivenImage | None = None,
    count: int = 1,
) -> None:
    """Start a drawing from `image`, with the parameters in `given` and the user's defaults for the others."""
    params = with_defaults(bot, interaction, given)

    async def with_images(server: AsyncPhotogram) -> dict[str, Any]:
        sources: dict[str, Any] = {"image": await image.upload(server)}
        if mask is not None:
            sources["mask"] = {"image": await mask.upload(server)}
        return {**params, **sources}

    kind = "img2img" if mask is None else "inpaint"
    await bot.artist.start(interaction, kind, params, count=count, prepare=with_images)

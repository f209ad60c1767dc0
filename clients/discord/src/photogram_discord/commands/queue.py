"""`/queue`: what the user waits for, and how much others wait for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from photogram import PhotogramError

from ..drawing import Drawing
from .options import Interaction

if TYPE_CHECKING:
    from ..bot import PhotogramBot

MAX_LISTED = 10


def add_to(bot: PhotogramBot) -> None:
    @bot.tree.command(description="Show what you wait for")
    async def queue(interaction: Interaction) -> None:
        await interaction.response.defer(thinking=True, ephemeral=True)
        pending = bot.store.pending()
        own = [drawing for drawing in pending if drawing.owner == interaction.user.id]
        lines = await asyncio.gather(*(_line(bot, drawing) for drawing in own[:MAX_LISTED]))
        others = sum(drawing.count for drawing in pending) - sum(drawing.count for drawing in own)
        text = "\n".join(lines) or "You wait for nothing."
        await interaction.edit_original_response(content=f"{text}\nImages that others wait for: {others}")


async def _line(bot: PhotogramBot, drawing: Drawing) -> str:
    place = f"https://discord.com/channels/{drawing.guild or '@me'}/{drawing.channel}/{drawing.message}"
    try:
        job = await bot.servers.client(drawing.guild).get(drawing.job_ids[0])
        step = f", step {job.progress.step} of {job.progress.steps}" if job.progress and job.progress.steps else ""
        state = job.status + step
    except PhotogramError:
        state = "not known to the server yet"
    return f"[{(drawing.prompt or drawing.kind)[:80]}]({place}): {drawing.count} x, {state}"

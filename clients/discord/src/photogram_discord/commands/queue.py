"""`/queue`: what the user waits for, and how much others wait for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..cards import Card
from ..drawing import Drawing
from ..markdown import in_line
from .options import Interaction

if TYPE_CHECKING:
    from ..bot import PhotogramBot

MAX_LISTED = 10


def add_to(bot: PhotogramBot) -> None:
    @bot.tree.command(description="Show what you wait for")
    async def queue(interaction: Interaction) -> None:
        pending = bot.store.pending()
        own = [drawing for drawing in pending if drawing.owner == interaction.user.id]
        lines = [_line(drawing, bot.follower.summary_of(drawing.id)) for drawing in own[:MAX_LISTED]]
        others = sum(drawing.count for drawing in pending) - sum(drawing.count for drawing in own)
        text = "\n".join(lines) or "You wait for nothing."
        card = Card((f"{text}\nImages that others wait for: {others}",))
        await interaction.response.send_message(view=card.view(), ephemeral=True)


def _line(drawing: Drawing, state: str) -> str:
    place = f"https://discord.com/channels/{drawing.guild or '@me'}/{drawing.channel}/{drawing.message}"
    title = in_line(drawing.prompt or drawing.kind, 100).replace("[", "(").replace("]", ")")
    return f"[{title}]({place}): {drawing.count} x, {state}"

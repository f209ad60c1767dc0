"""The message of a drawing: edited by the interaction's token while that lives, then by the bot's own token."""

from __future__ import annotations

import logging
from typing import Any

import aiohttp
import discord

from .cards import Card
from .drawing import Drawing

UNKNOWN_MESSAGE = 10008
_EXPIRED_CODES = {50027, 10015, 10062}
"""Discord's codes for a token that is no longer valid: invalid webhook token, unknown webhook, unknown interaction."""
_UNREACHABLE = (discord.DiscordServerError, discord.RateLimited, aiohttp.ClientError, OSError, TimeoutError)

log = logging.getLogger(__name__)


class Screen:
    """Shows cards in one message. If the bot may not edit it any more, a final card goes to the owner in private."""

    def __init__(
        self, client: discord.Client, drawing: Drawing, interaction: discord.Interaction[Any] | None = None
    ) -> None:
        self._client = client
        self._drawing = drawing
        self._interaction = interaction

    async def show(self, card: Card, *, is_final: bool = False) -> bool:
        """Replace what the message shows; False if Discord could not be reached, so that trying again may help.

        Refusals of Discord are logged. A final card goes to the owner in private if the message cannot be edited.
        """
        try:
            try:
                if not await self._by_interaction(card):
                    await self._by_bot(card)
            except (discord.Forbidden, discord.NotFound) as error:
                if is_final and (error.code != UNKNOWN_MESSAGE or self._drawing.is_hidden):
                    await self._in_private(card)
        except _UNREACHABLE:
            log.warning("message %s cannot be edited now", self._drawing.message, exc_info=True)
            return False
        except discord.HTTPException:
            log.exception("Discord refuses what message %s is to show", self._drawing.message)
        return True

    async def _by_interaction(self, card: Card) -> bool:
        if self._interaction is None:
            return False
        try:
            await self._interaction.edit_original_response(view=card.view(), attachments=card.files())
        except discord.HTTPException as error:
            if error.status not in (401, 404) or (error.status == 404 and error.code not in _EXPIRED_CODES):
                raise
            self._interaction = None
            return False
        return True

    async def _by_bot(self, card: Card) -> None:
        channel = self._client.get_partial_messageable(self._drawing.channel)
        await channel.get_partial_message(self._drawing.message).edit(view=card.view(), attachments=card.files())

    async def _in_private(self, card: Card) -> None:
        try:
            user = await self._client.fetch_user(self._drawing.owner)
            await user.send(view=card.view(), files=card.files())
        except (discord.Forbidden, discord.NotFound):
            log.warning("the result of %s cannot be delivered", self._drawing.id)

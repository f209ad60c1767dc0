"""Turns requests into drawings: checks them, uploads what they start from, and lets their jobs be followed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import discord
from photogram import AsyncPhotogram, PhotogramError, Proposal

from .drawing import Drawing, prompt_of
from .errors import Refused
from .images import GivenImage
from .rules import Request

if TYPE_CHECKING:
    from .bot import PhotogramBot

ASSIST_RETRIES = 1
"""So that people are told within seconds that there is no language model; each retry waits for five seconds."""

Prepare = Callable[[AsyncPhotogram], Awaitable[dict[str, Any]]]
"""Makes the parameters of the jobs where this takes the server, such as by uploading images."""


class Artist:
    def __init__(self, bot: PhotogramBot) -> None:
        self._bot = bot
        self._starting: set[asyncio.Task[Any]] = set()

    async def start(
        self,
        interaction: discord.Interaction[Any],
        kind: str,
        params: dict[str, Any],
        *,
        count: int = 1,
        prepare: Prepare | None = None,
    ) -> None:
        """Answer `interaction` with a message that follows the new jobs, or with why there are none."""

        async def proposed(server: AsyncPhotogram) -> Proposal:
            return Proposal(kind, params if prepare is None else await prepare(server))

        budget = params.get("budget", {}).get("images", count)
        request = _request(interaction, prompt_of(params), params.get("num_inference_steps"), count, budget)
        await self._start(interaction, request, proposed)

    async def start_by_words(self, interaction: discord.Interaction[Any], words: str, image: GivenImage | None) -> None:
        """Like `start`, with the job that the server's language model makes of `words`."""

        async def proposed(server: AsyncPhotogram) -> Proposal:
            images = () if image is None else (await image.upload(server),)
            return await server.with_options(max_retries=ASSIST_RETRIES).assist(words, images=images)

        await self._start(interaction, _request(interaction, words, None, 1, 1), proposed)

    async def close(self) -> None:
        """Give up what has not begun; the next start of the bot says so in the messages that wait for it."""
        for task in self._starting:
            task.cancel()
        await asyncio.gather(*self._starting, return_exceptions=True)

    async def _start(
        self,
        interaction: discord.Interaction[Any],
        request: Request,
        proposed: Callable[[AsyncPhotogram], Awaitable[Proposal]],
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)
        try:
            await self._bot.rules.check(request)
            with self._bot.rules.counted(request):
                await interaction.response.defer(thinking=True)
                message = await interaction.original_response()
                self._bot.store.open(interaction.id, message.channel.id, message.id)
                proposal = await proposed(self._bot.servers.client(interaction.guild_id))
                await self._check_proposal(request, proposal)
        except (PhotogramError, Refused) as error:
            await self._bot.explain(interaction, error, request.prompt)
        else:
            self._bot.follower.follow(_drawing(interaction, message, proposal, request.count), interaction)
            self._bot.store.close_opened(interaction.id)

    async def _check_proposal(self, request: Request, proposal: Proposal) -> None:
        """Raise Refused if the rules do not allow what the language model made of a request."""
        prompt, steps = prompt_of(proposal.params), proposal.params.get("num_inference_steps")
        proposed = replace(request, prompt=prompt, steps=steps)
        if proposed != request:
            await self._bot.rules.check(proposed)


def _drawing(
    interaction: discord.Interaction[Any], message: discord.InteractionMessage, proposal: Proposal, count: int
) -> Drawing:
    return Drawing(
        id=f"discord-{interaction.id}", kind=proposal.kind, params=dict(proposal.params), count=count,
        owner=interaction.user.id, channel=message.channel.id, message=message.id, guild=interaction.guild_id,
        is_hidden=message.flags.ephemeral, max_file_bytes=interaction.filesize_limit,
    )  # fmt: skip


def _request(interaction: discord.Interaction[Any], prompt: str, steps: int | None, count: int, images: int) -> Request:
    roles = frozenset(role.id for role in getattr(interaction.user, "roles", ()))
    is_nsfw = getattr(interaction.channel, "is_nsfw", None)
    return Request(
        prompt=prompt, count=count, images=images, steps=steps, user=interaction.user.id, guild=interaction.guild_id,
        roles=roles, is_age_restricted=bool(is_nsfw and is_nsfw()),
    )  # fmt: skip

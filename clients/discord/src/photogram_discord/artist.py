"""Turns requests into drawings: checks them, submits their jobs, follows them and shows the results."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import discord
from photogram import (
    AsyncPhotogram,
    ConnectionFailed,
    GeneratedImage,
    JobCanceled,
    JobFailed,
    PhotogramError,
    Proposal,
    ServerError,
    ServiceUnavailable,
    TooManyRequests,
)

from .cards import failure_card, progress_card, result_card
from .drawing import Drawing
from .errors import Refused, explained
from .images import GivenImage
from .progress import JobProgress
from .rules import Request
from .screen import Screen

if TYPE_CHECKING:
    from .bot import PhotogramBot

EDIT_EVERY_S = 1.0
"""The shortest time between two edits of a message."""
RETRY_MAX_S = 30.0
_PASSING = (ConnectionFailed, ServiceUnavailable, TooManyRequests, ServerError)

Prepare = Callable[[AsyncPhotogram], Awaitable[dict[str, Any]]]
"""Makes the parameters of the jobs where this takes the server, such as by uploading images."""


class Artist:
    def __init__(self, bot: PhotogramBot) -> None:
        self._bot = bot
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(
        self,
        interaction: discord.Interaction[Any],
        kind: str,
        params: dict[str, Any],
        *,
        count: int = 1,
        prepare: Prepare | None = None,
    ) -> None:
        """Answer `interaction` with a message that follows the new jobs; a refusal is shown to its user alone."""

        async def proposed(server: AsyncPhotogram) -> Proposal:
            return Proposal(kind, params if prepare is None else await prepare(server))

        request = _request(interaction, str(params.get("prompt") or ""), params.get("num_inference_steps"), count)
        await self._start(interaction, request, proposed)

    async def start_by_words(self, interaction: discord.Interaction[Any], words: str, image: GivenImage | None) -> None:
        """Like `start`, with the job that the server's language model makes of `words`."""

        async def proposed(server: AsyncPhotogram) -> Proposal:
            images = () if image is None else (await image.upload(server),)
            return await server.assist(words, images=images)

        await self._start(interaction, _request(interaction, words, None, 1), proposed)

    async def _start(
        self,
        interaction: discord.Interaction[Any],
        request: Request,
        proposed: Callable[[AsyncPhotogram], Awaitable[Proposal]],
    ) -> None:
        try:
            await self._bot.rules.check(request)
        except Refused as error:
            await self._bot.refuse(interaction, str(error))
            return
        await interaction.response.defer(thinking=True)
        try:
            proposal = await proposed(self._bot.servers.client(interaction.guild_id))
        except (PhotogramError, Refused) as error:
            card = failure_card(request.prompt, explained(error))
            await interaction.edit_original_response(view=card.view())
            return
        message = await interaction.original_response()
        drawing = Drawing(
            id=f"discord-{interaction.id}", kind=proposal.kind, params=dict(proposal.params), count=request.count,
            owner=interaction.user.id, channel=message.channel.id, message=message.id, guild=interaction.guild_id,
        )  # fmt: skip
        self.follow(drawing, interaction)

    def follow(self, drawing: Drawing, interaction: discord.Interaction[Any] | None = None) -> None:
        """Bring `drawing` to its end in the background; also for one that was begun before a restart."""
        self._bot.store.save(drawing, is_pending=True)
        task = asyncio.create_task(self._draw(drawing, Screen(self._bot, drawing, interaction)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Stop following; the jobs go on, and the next start of the bot delivers them."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _draw(self, drawing: Drawing, screen: Screen) -> None:
        jobs = [JobProgress() for _ in drawing.job_ids]
        changed = asyncio.Event()
        client = self._bot.servers.client(drawing.guild)
        painter = asyncio.create_task(_paint(drawing, jobs, screen, changed))
        try:
            ends = await asyncio.gather(
                *(_finish(client, drawing, number, job, changed) for number, job in enumerate(jobs))
            )
        finally:
            painter.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await painter
        images = {number: end for number, end in enumerate(ends) if isinstance(end, GeneratedImage)}
        failures = list(dict.fromkeys(end for end in ends if isinstance(end, str)))
        await screen.show(result_card(drawing, images, failures), is_final=True)
        if self._bot.store.drawing(drawing.id) is not None:
            self._bot.store.save(drawing, is_pending=False)


async def _paint(drawing: Drawing, jobs: list[JobProgress], screen: Screen, changed: asyncio.Event) -> None:
    """Show the newest state, at most once in `EDIT_EVERY_S`; an edit that takes long delays only the next one."""
    while True:
        changed.clear()
        await screen.show(progress_card(drawing, jobs))
        await asyncio.sleep(EDIT_EVERY_S)
        await changed.wait()


async def _finish(
    client: AsyncPhotogram, drawing: Drawing, number: int, progress: JobProgress, changed: asyncio.Event
) -> GeneratedImage | str:
    """The image of one job, or why there is none. The server is asked again until it answers.

    Submitting again under the same id gives the same job, so nothing is drawn twice after a lost answer or a restart.
    """
    pause_s = 1.0
    while True:
        try:
            return await _follow(client, drawing, number, progress, changed)
        except JobFailed as error:
            return error.job.error.message if error.job.error else "The job failed."
        except JobCanceled:
            return "Canceled."
        except _PASSING:
            progress.is_unreachable = True
            changed.set()
            await asyncio.sleep(pause_s)
            pause_s = min(RETRY_MAX_S, pause_s * 2)
        except PhotogramError as error:
            return explained(error)


async def _follow(
    client: AsyncPhotogram, drawing: Drawing, number: int, progress: JobProgress, changed: asyncio.Event
) -> GeneratedImage:
    proposal = Proposal(drawing.kind, drawing.job_params(number))
    job = await client.submit(proposal, job_id=drawing.job_ids[number])
    progress.set_job(job)
    async with aclosing(client.stream(job)) as events:
        async for event in events:
            progress.apply(event)
            changed.set()
    return await client.download(await client.get(job.id))


def _request(interaction: discord.Interaction[Any], prompt: str, steps: int | None, count: int) -> Request:
    roles = frozenset(role.id for role in getattr(interaction.user, "roles", ()))
    is_nsfw = getattr(interaction.channel, "is_nsfw", None)
    return Request(
        prompt=prompt, count=count, steps=steps, user=interaction.user.id, guild=interaction.guild_id, roles=roles,
        is_age_restricted=bool(is_nsfw and is_nsfw()),
    )  # fmt: skip

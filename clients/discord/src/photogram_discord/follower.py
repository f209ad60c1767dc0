"""Follows the jobs of drawings to their end: submits them, shows their progress and delivers the results."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import discord
from photogram import (
    AsyncPhotogram,
    DownloadedImage,
    Image,
    Job,
    JobCanceled,
    JobFailed,
    NotFound,
    PhotogramError,
    Proposal,
)

from .cards import FAILURE_MAX_CHARS, Card, progress_card, result_card
from .drawing import Drawing
from .errors import PASSING, Refused, explained, waiting_for
from .markdown import in_line
from .progress import JobProgress, summary
from .results import downloaded
from .screen import Screen

if TYPE_CHECKING:
    from .bot import PhotogramBot

EDIT_EVERY_S = 1.0
"""The shortest time between two edits of a message."""
RETRY_FIRST_S, RETRY_MAX_S = 1.0, 30.0
CANCELED = "Canceled."

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Run:
    """A drawing that is being followed."""

    drawing: Drawing
    client: AsyncPhotogram
    screen: Screen
    jobs: list[JobProgress]
    is_resumed: bool
    """Whether it was begun before a restart of the bot."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def end(self) -> None:
        """Let no more progress be shown."""
        self.over.set()
        self.changed.set()


class Follower:
    def __init__(self, bot: PhotogramBot) -> None:
        self._bot = bot
        self._runs: dict[str, Run] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def follow(self, drawing: Drawing, interaction: discord.Interaction[Any] | None = None) -> None:
        """Bring `drawing` to its end in the background; also for one that was begun before a restart."""
        self._bot.store.save(drawing, is_pending=True)
        client, screen = self._bot.servers.client(drawing.guild), Screen(self._bot, drawing, interaction)
        jobs = [JobProgress() for _ in drawing.job_ids]
        run = self._runs[drawing.id] = Run(drawing, client, screen, jobs, is_resumed=interaction is None)
        task = asyncio.create_task(self._bring_to_its_end(run))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def cancel(self, drawing_id: str) -> None:
        """Cancel the jobs of a drawing, also those that have not reached the server; raises Refused."""
        run = self._runs.get(drawing_id)
        if run is None:
            return
        run.drawing = replace(run.drawing, is_canceled=True)
        self._bot.store.save(run.drawing, is_pending=True)
        pause_s = RETRY_FIRST_S
        for job_id in run.drawing.job_ids:
            while True:
                try:
                    await _cancel(run.client, job_id)
                    break
                except PASSING:
                    await asyncio.sleep(pause_s)
                    pause_s = min(RETRY_MAX_S, pause_s * 2)
                except PhotogramError as error:
                    raise Refused(explained(error)) from error

    def summary_of(self, drawing_id: str) -> str:
        """How far the jobs of a pending drawing are, in one line."""
        run = self._runs.get(drawing_id)
        return "nearly done" if run is None else summary(run.jobs)

    async def close(self) -> None:
        """Stop following; the jobs go on, and the next start of the bot delivers them."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _bring_to_its_end(self, run: Run) -> None:
        painter = asyncio.create_task(_paint(run))
        try:
            ends = await asyncio.gather(*(_finish(run, number) for number in range(len(run.jobs))))
            run.end()
            await painter  # an edit that is under way must not come after the result
        finally:
            run.end()
            painter.cancel()
            await asyncio.gather(painter, return_exceptions=True)
        images = {number: end for number, end in enumerate(ends) if not isinstance(end, str)}
        failures = list(dict.fromkeys(end for end in ends if isinstance(end, str)))
        await _deliver(run.screen, result_card(run.drawing, images, failures))
        if self._bot.store.drawing(run.drawing.id) is not None:
            self._bot.store.save(run.drawing, is_pending=False)
        del self._runs[run.drawing.id]


async def _deliver(screen: Screen, card: Card) -> None:
    pause_s = RETRY_FIRST_S
    while not await screen.show(card, is_final=True):
        await asyncio.sleep(pause_s)
        pause_s = min(RETRY_MAX_S, pause_s * 2)


async def _paint(run: Run) -> None:
    """Show the newest state, at most once in `EDIT_EVERY_S`; an edit that takes long delays only the next one.

    The message of a drawing that was begun before a restart may show its result already: it is left as it is until
    something is known that is not the end.
    """
    if run.is_resumed:
        await run.changed.wait()
    while not run.over.is_set():
        run.changed.clear()
        await run.screen.show(progress_card(run.drawing, run.jobs))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(run.over.wait(), EDIT_EVERY_S)
        await run.changed.wait()


async def _finish(run: Run, number: int) -> tuple[DownloadedImage, ...] | str:
    """The images of one job, or why there is none, in Markdown. The server is asked again until it answers.

    Submitting again under the same id gives the same job, so nothing is drawn twice after a lost answer or a restart.
    """
    pause_s = RETRY_FIRST_S
    while True:
        try:
            return await _follow(run, number)
        except JobFailed as error:
            return in_line(error.job.error.message, FAILURE_MAX_CHARS) if error.job.error else "The job failed."
        except JobCanceled:
            return CANCELED
        except PASSING as error:
            if run.drawing.is_canceled:
                return CANCELED
            run.jobs[number].trouble = waiting_for(error)
            run.changed.set()
            await asyncio.sleep(pause_s)
            pause_s = min(RETRY_MAX_S, pause_s * 2)
        except PhotogramError as error:
            return explained(error)
        except Exception as error:  # whatever it is, people must not wait for ever
            log.exception("job %s cannot be followed", run.drawing.job_ids[number])
            return explained(error)


async def _follow(run: Run, number: int) -> tuple[DownloadedImage, ...] | str:
    """One attempt; the text says why the images of a succeeded job cannot be shown."""
    proposal = Proposal(run.drawing.kind, run.drawing.job_params(number))
    job = await run.client.submit(proposal, job_id=run.drawing.job_ids[number])
    run.jobs[number].set_job(job)
    if not job.is_finished:
        await _watch(run, number, job)
    return await downloaded(run.client, run.drawing, job.id)


async def _watch(run: Run, number: int, job: Job) -> None:
    """Let the progress of a job be shown until it ends."""
    run.changed.set()
    if run.drawing.is_canceled:
        await _cancel(run.client, job.id)
    async with aclosing(run.client.jobs.watch(job)) as events:
        async for event in events:
            run.jobs[number].apply(event)
            await _show_question(run, number)
            run.changed.set()


async def _show_question(run: Run, number: int) -> None:
    """Read a new question of an agent with its images, of which the last one is shown in place of a preview."""
    job = run.jobs[number]
    if job.asked is None or job.asked.id == job.shown_question:
        return
    job.shown_question = job.asked.id
    with contextlib.suppress(PhotogramError):  # the question is shown without its image
        job.asked = (await run.client.jobs.get(run.drawing.job_ids[number])).waiting_for_input
        if job.asked is not None and job.asked.images:
            image = Image(url=job.asked.images[-1], width=0, height=0)
            job.preview = await run.client.download_image(image, file_format="webp")


async def _cancel(client: AsyncPhotogram, job_id: str) -> None:
    with contextlib.suppress(NotFound):  # it has not reached the server
        await client.jobs.cancel(job_id)

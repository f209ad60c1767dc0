"""What each button does with the job that its custom id names."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import discord
from photogram import AsyncPhotogram, Job

from .drawing import Drawing, drawing_id_of
from .errors import Refused
from .modals import TextModal

if TYPE_CHECKING:
    from .bot import PhotogramBot

    BotInteraction: TypeAlias = discord.Interaction[PhotogramBot]

VARIATION_STRENGTHS = {"subtle": 0.1, "strong": 0.35}
"""How far the initial noise of a variation is from that of its image."""


async def perform(interaction: BotInteraction, action: str, job_id: str) -> None:
    """Do `action`; a failure is shown only to the person who pressed the button."""
    try:
        drawing = interaction.client.store.drawing(drawing_id_of(job_id))
        if drawing is None or action not in _ACTIONS:
            raise Refused("I no longer know this image. `/info` on its file shows how it was made.")
        await _ACTIONS[action](interaction, drawing, job_id)
    except Exception as error:
        await interaction.client.explain(interaction, error)


async def _reroll(interaction: BotInteraction, drawing: Drawing, job_id: str) -> None:
    params = {name: value for name, value in drawing.params.items() if name not in ("seed", "variation")}
    await interaction.client.artist.start(interaction, drawing.kind, params, count=drawing.count)


async def _vary(interaction: BotInteraction, drawing: Drawing, job_id: str, strength: float) -> None:
    async def varied(client: AsyncPhotogram) -> dict[str, Any]:
        job = await client.jobs.get(job_id)
        return {**drawing.params, "seed": job.params["seed"], "variation": {"seed": -1, "strength": strength}}

    await interaction.client.artist.start(interaction, drawing.kind, drawing.params, prepare=varied)


async def _subtle(interaction: BotInteraction, drawing: Drawing, job_id: str) -> None:
    await _vary(interaction, drawing, job_id, VARIATION_STRENGTHS["subtle"])


async def _strong(interaction: BotInteraction, drawing: Drawing, job_id: str) -> None:
    await _vary(interaction, drawing, job_id, VARIATION_STRENGTHS["strong"])


async def _upscale(interaction: BotInteraction, drawing: Drawing, job_id: str) -> None:
    async def of_result(client: AsyncPhotogram) -> dict[str, Any]:
        return {"image": source_of_result(await client.jobs.get(job_id))}

    await interaction.client.artist.start(interaction, "upscale", {}, prepare=of_result)


async def _edit(interaction: BotInteraction, drawing: Drawing, job_id: str) -> None:
    async def submitted(submission: BotInteraction, prompt: str) -> None:
        params = {**drawing.params, "prompt": prompt}
        await submission.client.artist.start(submission, drawing.kind, params, count=drawing.count)

    await interaction.response.send_modal(TextModal("Edit prompt", "Prompt", drawing.prompt, submitted))


async def answer(interaction: BotInteraction, job_id: str, text: str) -> None:
    """Tell an agent job what a person says; a failure is shown only to that person."""
    try:
        drawing = interaction.client.store.drawing(drawing_id_of(job_id))
        if drawing is None:
            raise Refused("I no longer know this job.")
        _check_owner(interaction, drawing)
        is_form = interaction.type is discord.InteractionType.modal_submit
        await interaction.response.defer(thinking=is_form, ephemeral=True)
        await interaction.client.servers.client(drawing.guild).jobs.tell(job_id, text)
        if is_form:  # the message of the job goes on by itself
            await interaction.delete_original_response()
    except Exception as error:
        await interaction.client.explain(interaction, error)


async def _answer(interaction: BotInteraction, drawing: Drawing, job_id: str) -> None:
    _check_owner(interaction, drawing)

    async def submitted(submission: BotInteraction, text: str) -> None:
        await answer(submission, job_id, text)

    await interaction.response.send_modal(TextModal("Answer", "Your answer", "", submitted))


async def _cancel(interaction: BotInteraction, drawing: Drawing, job_id: str) -> None:
    _check_owner(interaction, drawing)
    await interaction.response.defer()
    await interaction.client.follower.cancel(drawing.id)


async def _delete(interaction: BotInteraction, drawing: Drawing, job_id: str) -> None:
    _check_owner(interaction, drawing)
    await interaction.response.defer()
    with contextlib.suppress(discord.NotFound):  # pressed twice, or a moderator deleted the message
        await interaction.delete_original_response()
    interaction.client.store.delete(drawing.id)


def source_of_result(job: Job) -> str:
    """The source by which another job starts from the image of `job`; raises Refused."""
    if job.result is None or not job.result.images:
        raise Refused("That job has no image.")
    return "image:" + job.result.images[0].url.rpartition("/")[2].partition(".")[0]


def _check_owner(interaction: BotInteraction, drawing: Drawing) -> None:
    if interaction.user.id != drawing.owner and not interaction.permissions.manage_messages:
        raise Refused("Only the person who asked for this image, or a moderator, may do that.")


_ACTIONS: dict[str, Callable[[Any, Drawing, str], Awaitable[None]]] = {
    "reroll": _reroll,
    "subtle": _subtle,
    "strong": _strong,
    "upscale": _upscale,
    "edit": _edit,
    "answer": _answer,
    "cancel": _cancel,
    "delete": _delete,
}

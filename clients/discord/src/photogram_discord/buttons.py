"""The buttons below images, which work as long as the message exists: their custom ids carry the job id."""

from __future__ import annotations

import re
from typing import Any

import discord
from discord import ButtonStyle, ui

from . import actions
from .drawing import drawing_id_of

LABELS = {
    "reroll": ("Reroll", ButtonStyle.primary),
    "subtle": ("Vary subtle", ButtonStyle.secondary),
    "strong": ("Vary strong", ButtonStyle.secondary),
    "upscale": ("Upscale", ButtonStyle.secondary),
    "edit": ("Edit prompt", ButtonStyle.secondary),
    "answer": ("Answer", ButtonStyle.primary),
    "cancel": ("Cancel", ButtonStyle.danger),
    "delete": ("Delete", ButtonStyle.danger),
}
CHOICE_MAX_CHARS = 100
"""Of one entry of a menu, as Discord takes it."""
CHOICES = ("upscale", "subtle", "strong")
_JOB_ID = r"[A-Za-z0-9_-]{1,64}"


class JobButton(ui.DynamicItem[ui.Button[Any]], template=rf"photogram:(?P<action>[a-z]+):(?P<job>{_JOB_ID})"):
    """A button for one job of a drawing."""

    def __init__(self, action: str, job_id: str) -> None:
        label, style = LABELS[action]
        super().__init__(ui.Button(label=label, style=style, custom_id=f"photogram:{action}:{job_id}"))
        self.action = action
        self.job_id = job_id

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction[Any], item: ui.Item[Any], match: re.Match[str], /
    ) -> JobButton:
        return cls(match["action"], match["job"])

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        await actions.perform(interaction, self.action, self.job_id)


class ChoiceSelect(ui.DynamicItem[ui.Select[Any]], template=rf"photogram-answer:(?P<job>{_JOB_ID})"):
    """A menu of the answers that an agent suggests to its question."""

    def __init__(self, job_id: str, choices: tuple[str, ...] = ()) -> None:
        options = [discord.SelectOption(label=choice[:CHOICE_MAX_CHARS] or "-") for choice in dict.fromkeys(choices)]
        select: ui.Select[Any] = ui.Select(
            custom_id=f"photogram-answer:{job_id}", placeholder="Choose an answer", options=options
        )
        super().__init__(select)
        self.job_id = job_id

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction[Any], item: ui.Item[Any], match: re.Match[str], /
    ) -> ChoiceSelect:
        return cls(match["job"])

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        await actions.answer(interaction, self.job_id, self.item.values[0])


class ImageSelect(ui.DynamicItem[ui.Select[Any]], template=rf"photogram-choose:(?P<job>{_JOB_ID})"):
    """A menu of what can be done with each image of a drawing that has several."""

    def __init__(self, job_id: str, numbers: tuple[int, ...] = ()) -> None:
        options = [
            discord.SelectOption(label=f"{LABELS[action][0]} image {number + 1}", value=f"{action}:{number}")
            for number in numbers
            for action in CHOICES
        ]
        select: ui.Select[Any] = ui.Select(
            custom_id=f"photogram-choose:{job_id}", placeholder="Continue with one image", options=options
        )
        super().__init__(select)
        self.job_id = job_id

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction[Any], item: ui.Item[Any], match: re.Match[str], /
    ) -> ImageSelect:
        return cls(match["job"])

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        action, _, number = self.item.values[0].partition(":")
        await actions.perform(interaction, action, f"{drawing_id_of(self.job_id)}-{number}")

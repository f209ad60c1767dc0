"""Chooses the template of a brief and fills its slots: by rules, and by a small model where the rules are not sure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from models.agent.prompts import CAPTION_MAX_CHARS, caption_text, finished
from models.agent.refusals import BriefRefused, PlanRefused
from models.agent.said import Said
from models.agent.templates import TEMPLATES
from models.agent.templates.edit_then_upscale import EditThenUpscale, image_files, is_about_an_image
from models.agent.templates.enlarging import asked_scale, without_enlarging
from models.agent.templates.template import LookSlots, Template
from models.agent.vocabulary import CATEGORIES
from models.jobs.payload import Payload
from models.jobs.results import Json

BRIEF_SHOWN_CHARS = 600
"""How much of a brief a small model is shown."""
FITS_SURELY = 3
"""From this fit on, a template is chosen by rules alone."""


@dataclass(frozen=True, kw_only=True)
class Choice(Payload):
    """A template, and what fills its slots."""

    template: str
    slots: dict[str, Json] = field(default_factory=dict)


class NoChoice(Exception):
    """The language model failed, or answered nonsense."""


class Chooser(Protocol):
    """A language model that is too small to plan, but can choose and write a phrase."""

    async def choose(self, question: str, options: Sequence[str]) -> str:
        """One of ``options``.

        Raises:
            NoChoice.
        """
        ...

    async def phrase(self, question: str, max_chars: int) -> str:
        """A phrase of one line.

        Raises:
            NoChoice.
        """
        ...


def choose_by_rules(brief: str, files: Sequence[str] = ()) -> Choice:
    """The template that ``brief`` asks for, with its slots; the same brief and files always give the same choice.

    Raises:
        BriefRefused: no template does what the brief asks for, or the brief contradicts itself; the message says what
            can be asked for.
    """
    said = Said.of(brief)
    for template in candidates(said, files):
        slots = filled(template, said, files)
        if slots is not None:
            return Choice(template=template.name, slots=slots)
    raise BriefRefused(_refusal(said, files))


async def choose(brief: str, files: Sequence[str], chooser: Chooser) -> Choice:
    """As :func:`choose_by_rules`, with the help of a small language model.

    It is asked which template is meant where the rules are not sure, which things an icon set has where the brief says
    only a theme, and for the captions of a story. Where it fails, the rules decide.

    Raises:
        BriefRefused.
    """
    said = Said.of(brief)
    found = await _template(said, files, chooser)
    if found is None:
        return choose_by_rules(brief, files)
    slots = filled(found, said, files)
    if found.name == "icon_set" and not (said.things or said.category or said.items):
        slots = await _themed(found, said, files, chooser) or slots
    if slots is None:
        return choose_by_rules(brief, files)
    if found.name == "storyboard" and not said.steps and not said.quotations:
        slots = await _captioned(slots, said, chooser)
    return Choice(template=found.name, slots=slots)


def candidates(said: Said, files: Sequence[str]) -> list[Template]:
    """The templates that fit a brief, the best first."""
    fits = {template: template.fits(said, files) for template in TEMPLATES.values()}
    return sorted((each for each in fits if fits[each]), key=lambda each: -fits[each])


def filled(template: Template, said: Said, files: Sequence[str]) -> dict[str, Json] | None:
    """The slots of ``template`` if the brief fills them so that there is a plan."""
    scale = asked_scale(said) if issubclass(template.slots, LookSlots) else None
    slots = template.fill(said if scale is None else Said.of(without_enlarging(said.text)), files)
    if slots is None:
        return None
    if scale is not None:
        slots = {**slots, "scale": scale}
    try:
        template.plan(slots, files)
    except PlanRefused:
        return None
    return slots


async def _template(said: Said, files: Sequence[str], chooser: Chooser) -> Template | None:
    """The best template, by the model if the rules are not sure of one; ``None`` if it fails or nothing fits."""
    fitting = candidates(said, files)
    if not fitting or fitting[0].fits(said, files) >= FITS_SURELY:
        return fitting[0] if fitting else None
    options = {each.summary: each for each in fitting}
    if len(options) == 1:
        return fitting[0]
    try:
        return options.get(await chooser.choose(_question("What does this ask for?", said), [*options]))
    except NoChoice:
        return None


async def _themed(template: Template, said: Said, files: Sequence[str], chooser: Chooser) -> dict[str, Json] | None:
    """The slots with the things of the theme that the model chooses, for a theme that the rules do not know."""
    try:
        theme = await chooser.choose(_question("Which of these is nearest to this?", said), [*CATEGORIES])
    except NoChoice:
        return None
    if theme not in CATEGORIES:
        return None
    return filled(template, Said.of(f"{said.text} icons of {theme}"), files)


async def _captioned(slots: dict[str, Json], said: Said, chooser: Chooser) -> dict[str, Json]:
    """``slots`` with captions by the model; those of the rules stay where it fails or repeats itself."""
    panels: list[Json] = []
    told: list[str] = []
    for number, panel in enumerate(slots["panels"] if isinstance(slots["panels"], list) else [], 1):
        assert isinstance(panel, dict)
        asked = f"Write the caption of image {number} of this story, which shows {panel['scene']}."
        try:
            caption = finished(caption_text(await chooser.phrase(_question(asked, said), CAPTION_MAX_CHARS)))
        except NoChoice:
            caption = ""
        is_usable = any(map(str.isalpha, caption)) and caption not in told
        told.append(caption if is_usable else str(panel["caption"]))
        panels.append({**panel, "caption": told[-1]})
    return {**slots, "panels": panels}


def _question(question: str, said: Said) -> str:
    return f"{question}\n\n{' '.join(said.text.split())[:BRIEF_SHOWN_CHARS]}"


def _refusal(said: Said, files: Sequence[str]) -> str:
    if not image_files(files) and (
        is_about_an_image(said) or any(isinstance(each, EditThenUpscale) for each in candidates(said, files))
    ):
        return "the brief speaks of an image, but no image was uploaded with it: add one to its files"
    can = "; ".join(f"{each.name} ({each.summary})" for each in TEMPLATES.values())
    return f"no template does what the brief asks for, or it does not say in English what to draw. There are: {can}"

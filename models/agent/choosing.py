"""Chooses the template of a brief and fills its slots by rules, without a language model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from models.agent.refusals import BriefRefused, PlanRefused
from models.agent.said import Said
from models.agent.templates import TEMPLATES
from models.agent.templates.edit_then_upscale import EditThenUpscale, pictures
from models.agent.templates.template import Template
from models.jobs.payload import Payload
from models.jobs.results import Json


@dataclass(frozen=True, kw_only=True)
class Choice(Payload):
    """A template, and what fills its slots."""

    template: str
    slots: dict[str, Json] = field(default_factory=dict)


def choose_by_rules(brief: str, files: Sequence[str] = ()) -> Choice:
    """The template that ``brief`` asks for, with its slots; the same brief and files always give the same choice.

    Raises:
        BriefRefused: no template does what the brief asks for, or the brief contradicts itself; the message names the
            templates.
    """
    said = Said.of(brief)
    for template in candidates(said, files):
        slots = filled(template, said, files)
        if slots is not None:
            return Choice(template=template.name, slots=slots)
    raise BriefRefused(_refusal(said, files))


def candidates(said: Said, files: Sequence[str]) -> list[Template]:
    """The templates that fit a brief, the best first."""
    fits = {template: template.fits(said, files) for template in TEMPLATES.values()}
    return sorted((each for each in fits if fits[each]), key=lambda each: -fits[each])


def filled(template: Template, said: Said, files: Sequence[str]) -> dict[str, Json] | None:
    """The slots of ``template`` if the brief fills them so that there is a plan."""
    slots = template.fill(said, files)
    if slots is None:
        return None
    try:
        template.plan(slots, files)
    except PlanRefused:
        return None
    return slots


def _refusal(said: Said, files: Sequence[str]) -> str:
    if not pictures(files) and any(isinstance(each, EditThenUpscale) for each in candidates(said, files)):
        return "the brief speaks of a picture, but no picture was uploaded with it: add one to its files"
    can = "; ".join(f"{each.name} ({each.summary})" for each in TEMPLATES.values())
    return f"no template does what the brief asks for, or it does not say what to draw. There are: {can}"

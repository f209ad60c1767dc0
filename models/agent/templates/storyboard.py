"""A story in panels with captions, on one board."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Annotated

from pydantic import Field

from models.agent.colours import Colour
from models.agent.plan import Subtask
from models.agent.prompts import (
    CAPTION_MAX_CHARS,
    NOUN_MAX_CHARS,
    apart_from,
    bare_noun,
    caption_text,
    cut,
    prompt_text,
)
from models.agent.refusals import BriefRefused
from models.agent.said import Said
from models.agent.templates.drawing import draw, folder, sheet
from models.agent.templates.template import Caption, Detail, Noun, Scene, SheetSlots, Slots, Template, counted
from models.agent.vocabulary import thing_named
from models.catalog.concepts import with_article
from models.jobs.results import Json

PANELS_MIN, PANELS_MAX, PANELS = 2, 8, 4
_PANELS = r"panels?|scenes?|frames?|pictures?|images?|parts?"
_MARKS = ("about", "of", "where", "in which", ":", "showing", "with")
_GROUNDS = ("light blue", "white", "pink", "green")
"""On which the shipped eyes recognise most drawings of the built-in checkpoint."""
_MEANWHILE = ("And then", "A little later", "After that", "Once more", "At last", "Until")
_COUNTED = re.compile(rf"\s*\b(?:in|with|on|as)\s+(?:an?\s+)?[\w-]+[\s-]+(?:{_PANELS})\b", re.IGNORECASE)
_IT = re.compile(r"(?:it|he|she|they)\b", re.IGNORECASE)
_THAT = re.compile(r"^(?P<who>.+?)\s+(?:that|who|which)\s+(?P<does>.+)$", re.IGNORECASE)


class Panel(Slots):
    noun: Annotated[Noun, Field(description="The one thing that it shows most of.")]
    scene: Annotated[Scene, Field(description="All that it shows, for models that draw scenes.")]
    caption: Caption = ""


class StoryboardSlots(SheetSlots):
    panels: Annotated[list[Panel], Field(min_length=PANELS_MIN, max_length=PANELS_MAX)]
    ground: Annotated[Colour | None, Field(description="Of all panels; without one, they take turns.")] = None  # type: ignore[assignment]
    detail: Detail = "plain"


class Storyboard(Template):
    """See the module."""

    name = "storyboard"
    summary = f"a story in {PANELS_MIN} to {PANELS_MAX} panels with captions"
    slots = StoryboardSlots

    def fits(self, said: Said, files: Sequence[str]) -> int:
        if said.has(r"story|stories|storyboards?|comics?|panels?|tale"):
            return 4
        return 2 * (len(said.steps) > 1)

    def fill(self, said: Said, files: Sequence[str]) -> dict[str, Json] | None:
        steps = said.steps or said.clauses
        count = counted(said, _PANELS, PANELS_MIN, PANELS_MAX, len(steps) or PANELS)
        if not said.steps and len(steps) != count:  # things of the story, not its panels
            steps = ()
        if steps and len(steps) != count:
            raise BriefRefused(f"the brief asks for {count} panels, and tells what {len(steps)} of them show")
        panels = [_told(step, said) for step in steps] if steps else _beats(said, count)
        if not all(panels):
            return None
        for panel, caption in zip(panels, said.quotations if len(said.quotations) == count else (), strict=False):
            panel["caption"] = caption
        title = said.quotations[0] if len(said.quotations) == 1 else ""
        return {"panels": [*panels], "ground": said.ground, "style": said.style, "title": title}

    def _subtasks(self, slots: StoryboardSlots, files: Sequence[str], seed: int) -> Iterable[Subtask]:
        where, count = folder("panels", files), len(slots.panels)
        images = [f"{where}/{number}.png" for number in range(1, count + 1)]
        for number, (panel, image) in enumerate(zip(slots.panels, images, strict=True)):
            scene = panel.scene if slots.detail == "scene" else ""
            ground = slots.ground or apart_from(_GROUNDS[(seed + number) % len(_GROUNDS)], panel.noun)
            yield draw(
                f"Panel {number + 1}: {panel.noun}", panel.noun, image, ground=ground, style=slots.style, scene=scene
            )
        yield sheet(
            "Board of all panels",
            images,
            f"{where}/storyboard.png",
            layout="storyboard",
            captions=[panel.caption for panel in slots.panels],
            columns=2 if count <= PANELS else (count + 1) // 2,
            title=slots.title,
        )


def _told(step: str, said: Said) -> dict[str, Json]:
    """The panel of a step that the brief tells; ``it`` is the first thing of the brief."""
    thing = thing_named(step)
    if thing is None and said.things and _IT.match(step):
        thing = said.things[0]
    noun = thing.noun if thing else bare_noun(step)
    scene = prompt_text(step)
    return (
        {"noun": noun, "scene": scene, "caption": caption_text(step[:1].upper() + step[1:])} if noun and scene else {}
    )


def _beats(said: Said, count: int) -> list[dict[str, Json]]:
    """Panels of a story of which only the subject is told: its things in turn, then what happens, then the end."""
    told = _COUNTED.sub("", said.after(_MARKS))
    subject = prompt_text(re.split(r"[.;!?\n]", told)[0]) or (said.things[0].noun if said.things else "")
    if not subject:
        return [{}]
    nouns = list(dict.fromkeys(each.noun for each in said.things)) or [_main(subject)]
    shown = nouns[: count - 1]
    captions = [_sentence(with_article(noun)) for noun in shown] + [_sentence(_happening(subject))]
    captions += [*_MEANWHILE[: count - len(captions) - 1], "The end"]
    scenes = [with_article(noun) for noun in shown] + [subject] * count
    return [
        {"noun": nouns[number % len(nouns)], "scene": scenes[number], "caption": captions[number]}
        for number in range(count)
        if nouns[0]
    ] or [{}]


def _main(subject: str) -> str:
    """The noun phrase that a subject begins with."""
    return cut(bare_noun(re.split(r"\s+(?:that|who|which|where|in|on|at|with)\b", subject)[0]), NOUN_MAX_CHARS)


def _happening(subject: str) -> str:
    """``a cat that finds a ball`` as a sentence: the cat finds a ball."""
    told = _THAT.match(subject)
    return f"the {bare_noun(told['who'])} {told['does']}" if told else subject


def _sentence(text: str) -> str:
    return cut(text[:1].upper() + text[1:], CAPTION_MAX_CHARS)

"""A character in several poses, all drawn from the first image of it, and a sheet of all."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Annotated

from pydantic import Field

from models.agent.calls import Call
from models.agent.checks import Check
from models.agent.plan import Subtask
from models.agent.prompts import CAPTION_MAX_CHARS, apart_from, bare_noun, drawing
from models.agent.refusals import BriefRefused
from models.agent.said import Said
from models.agent.templates.drawing import content_checks, draw, folder, named, sheet
from models.agent.templates.template import Noun, Scene, SheetSlots, Template, counted, exists
from models.catalog.concepts import with_article
from models.jobs.results import Json

POSES_MIN, POSES_MAX, POSES = 2, 6, 4
USUAL_POSES = ("standing", "waving", "running", "jumping", "sitting", "sleeping")
"""For a brief that says how many poses, but not which."""
_POSES = r"poses?|positions?|postures?|views?|angles?|moods?|expressions?"
_LEAD = re.compile(
    r"^.*?\b(?:poses|postures|sheet|character)\s+(?:of|for|:)\s*|^\s*(?:please\s+)?(?:draw|show|make|paint)\s+(?:me\s+)?",
    re.I,
)
_IN_ONE_ROW = 3
_STRENGTHS = (0.6, 0.75)
"""How much a pose may differ from the first image, and how much on later tries."""


class CharacterPosesSlots(SheetSlots):
    character: Noun
    poses: Annotated[list[Scene], Field(min_length=POSES_MIN, max_length=POSES_MAX)]


class CharacterPoses(Template):
    """See the module."""

    name = "character_poses"
    summary = f"a character in {POSES_MIN} to {POSES_MAX} poses on one sheet"
    slots = CharacterPosesSlots

    def fits(self, said: Said, files: Sequence[str]) -> int:
        return 4 if said.has(r"pos(?:es?|ing)|postures?|turnaround|model\s+sheet") else 2 * said.has("characters?")

    def fill(self, said: Said, files: Sequence[str]) -> dict[str, Json] | None:
        character = said.things[0].noun if said.things else _character(said)
        if not character:
            return None
        listed = [each for each in _listed(said) if each.lower() != character.lower()][:POSES_MAX]
        count = counted(said, _POSES, POSES_MIN, POSES_MAX, len(listed) if len(listed) > 1 else POSES)
        if len(listed) > count:
            raise BriefRefused(f"the brief asks for {count} poses, and names {len(listed)}")
        poses = [*listed, *(each for each in USUAL_POSES if each not in listed)][:count]
        title = said.quotations[0] if said.quotations else ""
        slots: dict[str, Json] = {"character": character, "poses": [*poses], "ground": said.ground or "white"}
        return slots | {"style": said.style, "title": title}

    def _subtasks(self, slots: CharacterPosesSlots, files: Sequence[str], seed: int) -> Iterable[Subtask]:
        where = folder("poses", files)
        ground = apart_from(slots.ground, slots.character)
        images = [f"{where}/{number}.png" for number in range(1, len(slots.poses) + 1)]
        yield draw(f"Character: {slots.character}", slots.character, images[0], ground=ground, style=slots.style)
        for number in range(1, len(images)):
            yield _pose(slots, slots.poses[number], images[: number + 1], ground)
        yield sheet(
            "Sheet of all poses",
            images,
            f"{where}/sheet.png",
            layout="grid",
            captions=[each[:CAPTION_MAX_CHARS] for each in slots.poses],
            columns=len(images) if len(images) <= _IN_ONE_ROW else (len(images) + 1) // 2,
            title=slots.title,
        )


def _pose(slots: CharacterPosesSlots, pose: str, images: Sequence[str], ground: str) -> Subtask:
    """A subtask that draws the last of ``images`` from the first one."""
    first, save_as = images[0], images[-1]
    prompt = drawing(f"{slots.character} {pose}", ground, slots.style)
    gentle, free = (
        Call(tool="img2img", arguments={"image": first, "prompt": prompt, "strength": strength, "save_as": save_as})
        for strength in _STRENGTHS
    )
    return Subtask(
        name=named(f"Pose {len(images)}: {pose}"),
        goal=f"{save_as} shows {with_article(slots.character)} {pose}",
        milestones=(
            exists(save_as),
            *content_checks(save_as, slots.character),
            Check.of("ground", file=save_as, colour=ground),
            Check.of("distinct", files=[*images], least_distance=1),
        ),
        calls=(gentle,),
        retry_calls=(free,),
    )


def _character(said: Said) -> str:
    """The noun phrase before or after the poses."""
    text = _LEAD.sub("", said.rest)
    return bare_noun(re.split(r"\s+in\b|[:,.;\n]", text, maxsplit=1)[0])


def _listed(said: Said) -> list[str]:
    """The poses that the brief names."""
    after = said.after((":",))
    return [_without(each, said.things[0].noun) if said.things else each for each in Said.of(f": {after}").items]


def _without(pose: str, character: str) -> str:
    """``pose`` without the character, as in ``fox sitting``."""
    return pose.removeprefix(character).strip() or pose

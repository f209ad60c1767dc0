"""The subtasks that templates are made of: drawing one thing, drawing a scene, and putting images on a sheet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from models.agent import prompts
from models.agent.calls import Call
from models.agent.checks import Check
from models.agent.plan import NAME_MAX_CHARS, Subtask
from models.agent.templates.template import exists
from models.agent.vocabulary import thing_named
from models.jobs.results import Json

LABELS_READ, LABELS_READ_COLOURED = 5, 10
"""The thing must be among so many labels. The shipped eyes name nearly all drawings of the built-in checkpoint among
five; things in colours that they do not usually have are harder to see."""
COLOUR_SHARE = 0.08
"""Of the pixels; drawings of one coloured thing have from 13 to 60 %."""
TEXTS_CHECKED = 9


def folder(wanted: str, files: Iterable[str]) -> str:
    """A folder of that name, or with a number after it, in which no file lies and which is none."""
    taken = {name.partition("/")[0] for name in files}
    return next(
        name for number in range(1, 1000) if (name := wanted if number == 1 else f"{wanted}-{number}") not in taken
    )


def draw(name: str, noun: str, save_as: str, *, ground: str, style: str = "", scene: str = "") -> Subtask:
    """A subtask that draws one thing on a ground, or a scene, and checks what the tools can see of it.

    Args:
        scene: what to draw instead, of which ``noun`` is the main thing.
    """
    ground = prompts.apart_from(ground, noun)
    prompt = prompts.scene(scene, style) if scene else prompts.drawing(noun, ground, style)
    simpler = prompts.drawing(noun, ground) if scene else prompts.emoji(noun, ground)
    goal = f"{save_as} shows {noun}" + ("" if scene else f" on a {ground} ground")
    on_ground = Check.of("ground", file=save_as, colour=ground)
    seen = () if scene else (*content_checks(save_as, noun), on_ground)  # the shipped eyes know no scenes
    return Subtask(
        name=named(name),
        goal=goal,
        milestones=(exists(save_as), *seen),
        calls=(Call(tool="txt2img", arguments={"prompt": prompt, "save_as": save_as}),),
        retry_calls=(Call(tool="txt2img", arguments={"prompt": simpler, "save_as": save_as}),),
        is_parallel=True,
    )


def content_checks(file: str, noun: str) -> list[Check]:
    """The checks of what a file shows: the thing, if the shipped eyes know it, and the colour that is said of it."""
    thing, colours = thing_named(noun), colour_checks(file, noun)
    if thing is None:
        return colours
    top_k = LABELS_READ_COLOURED if colours else LABELS_READ
    return [Check.of("label", file=file, label=thing.label, top_k=top_k), *colours]


def colour_checks(file: str, noun: str) -> list[Check]:
    """The check of the colour that is said of a thing, which needs no eyes."""
    colour = prompts.colour_of(noun)
    return [Check.of("colour", file=file, colour=colour, least_share=COLOUR_SHARE)] if colour else []


def sheet(
    name: str, images: Sequence[str], save_as: str, *, layout: str, captions: Sequence[str], columns: int, title: str
) -> Subtask:
    """A subtask that puts all images on one sheet."""
    arguments: dict[str, Json] = {"layout": layout, "images": [*images], "columns": columns, "save_as": save_as}
    if any(captions):
        arguments["captions"] = [*captions]
    if title:
        arguments["title"] = title
    printed = [each for each in dict.fromkeys((title, *captions)) if each.strip() and each.isascii()][:TEXTS_CHECKED]
    return Subtask(
        name=named(name),
        goal=f"{save_as} shows all {len(images)} images",
        milestones=(
            exists(*images, save_as),
            Check.of("size", file=save_as, least_width=64 * columns),
            *(Check.of("text", file=save_as, text=each) for each in printed),
        ),
        calls=(Call(tool="compose", arguments=arguments),),
    )


def named(name: str) -> str:
    return prompts.caption_text(name, NAME_MAX_CHARS)

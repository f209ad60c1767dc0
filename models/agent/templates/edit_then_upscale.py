"""An uploaded image, edited by words and enlarged."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated

from pydantic import Field

from models.agent.calls import Call
from models.agent.checks import Check
from models.agent.plan import Subtask
from models.agent.prompts import SCENE_MAX_CHARS, colour_of, coloured, prompt_text, scene
from models.agent.said import Said
from models.agent.templates.drawing import colour_checks, folder
from models.agent.templates.enlarging import (
    ENLARGE,
    SCALE,
    SCALE_MAX,
    SCALE_MIN,
    SHARPEN,
    enlarge,
    scale_of,
)
from models.agent.templates.template import File, Slots, Style, Template, exists
from models.agent.vocabulary import thing_named
from models.catalog.concepts import with_article
from models.jobs.results import Json

_IMAGE = re.compile(r"\.(?:png|jpe?g|webp|gif|bmp|tiff?|avif)$", re.IGNORECASE)
_EDIT = r"edit\w*|chang\w*|turn\w*|replac\w*|recolou?r\w*|restyl\w*|transform\w*|make|give|add|paint"
_PHOTO = r"photos?|photographs?|uploads?|uploaded|(?:my|this|the|attached)\s+(?:picture|image|file|drawing)"
_NOT_THE_EDIT = re.compile(
    rf"\b(?:and|then|please|finally|,)*\s*\b(?:{ENLARGE}|{SHARPEN})\b[^,.;]*?(?=$|[,.;]|\band\b|\bthen\b)",
    re.IGNORECASE,
)
_VERB = re.compile(
    rf"^(?:please\s+|can you\s+)?(?:{_EDIT})\b\s*(?:(?:an?\s+|the\s+)?(?:{_PHOTO}|it|them)\b\s*)*"
    r"(?:so that it (?:is|shows)\s+|into\s+|to\s+|in\s+|of\s+)?",
    re.IGNORECASE,
)


_OF_AN_IMAGE = re.compile(
    rf"(?:please\s+|can you\s+)?(?:(?:{_EDIT}|{ENLARGE}|{SHARPEN})\s+(?:it|this|that|these|those|my)\b(?!:)"
    rf"|(?:{_EDIT})\s+the\s+(?:photo|picture|image|file)\b(?!\s+of\b)"
    rf"|(?:edit|change|turn|replace|recolou?r|restyle|transform|{ENLARGE}|{SHARPEN})\s+the\b|edit\b)",
    re.IGNORECASE,
)


class EditThenUpscaleSlots(Slots):
    file: File
    change: Annotated[
        str, Field(max_length=SCENE_MAX_CHARS, description="What it shows then; empty to keep it as it is.")
    ] = ""
    style: Style = ""
    scale: Annotated[int, Field(ge=SCALE_MIN, le=SCALE_MAX)] = SCALE
    strength: Annotated[float, Field(ge=0.1, le=0.9, description="How much the edit may change.")] = 0.55


class EditThenUpscale(Template):
    """See the module."""

    name = "edit_then_upscale"
    summary = "an uploaded image, edited by words or not, then enlarged"
    slots = EditThenUpscaleSlots

    def fits(self, said: Said, files: Sequence[str]) -> int:
        asks = said.has(f"{ENLARGE}|{SHARPEN}")
        if asks or said.has(_PHOTO):
            return 3 if image_files(files) or asks else 1
        return 2 * (bool(image_files(files)) and said.has(_EDIT))

    def fill(self, said: Said, files: Sequence[str]) -> dict[str, Json] | None:
        uploaded = image_files(files)
        if not uploaded:
            return None
        named = next((file for file in uploaded if file.lower() in said.text.lower()), uploaded[0])
        change = _change(said, uploaded)
        slots: dict[str, Json] = {"file": named, "change": change, "style": said.style if change else ""}
        return slots | {"scale": scale_of(said.text)}

    def _heard(self, slots: Mapping[str, Json], said: Said) -> dict[str, Json]:
        change = _change(said, [])
        return super()._heard(slots, said) | ({"change": change} if change else {})

    def _subtasks(self, slots: EditThenUpscaleSlots, files: Sequence[str], seed: int) -> Iterable[Subtask]:
        where, image, change = folder("edited", files), slots.file, prompt_text(slots.change)
        if change:
            yield _edit(slots, change, f"{where}/edited.png")
            image = f"{where}/edited.png"
        yield enlarge(image, f"{where}/enlarged.png", slots.scale)


def image_files(files: Sequence[str]) -> list[str]:
    """Those of ``files`` that are images by their names."""
    return [name for name in files if _IMAGE.search(name)]


def is_about_an_image(said: Said) -> bool:
    """Whether a brief begins by asking for a change of an image that is there, as in ``make this apple green``."""
    return _OF_AN_IMAGE.match(said.rest) is not None


def _edit(slots: EditThenUpscaleSlots, change: str, save_as: str) -> Subtask:
    arguments: dict[str, Json] = {"image": slots.file, "prompt": scene(change, slots.style), "save_as": save_as}
    stronger = min(slots.strength + 0.2, 0.9)
    return Subtask(
        name="Edit the image",
        goal=f"{save_as} shows {change}",
        milestones=(
            exists(save_as),
            Check.of("changed", file=save_as, of=slots.file),
            *colour_checks(save_as, change),
        ),
        calls=(Call(tool="img2img", arguments=arguments | {"strength": slots.strength}),),
        retry_calls=(Call(tool="img2img", arguments=arguments | {"strength": round(stronger, 2)}),),
    )


def _change(said: Said, uploaded: Sequence[str]) -> str:
    """What a brief says that the image shall show, as a prompt; empty if it only asks for another size."""
    text = said.rest
    for file in uploaded:
        text = text.replace(file, " ")
    text = " ".join(_NOT_THE_EDIT.sub(" ", text).split()).strip(" ,.;!")
    asked = _VERB.match(text)
    if asked is None:
        return ""
    wanted = prompt_text(text[asked.end() :].removesuffix(" then").removesuffix(" and"))
    thing, colour = thing_named(wanted), colour_of(wanted)
    if thing is not None:
        wanted = f"a drawing of {with_article(coloured(thing.word, colour) if colour else thing.word)}"
    ground = f"{with_article(said.ground)} background" if said.ground else ""
    return f"{wanted} on {ground}" if wanted and ground else wanted or ground

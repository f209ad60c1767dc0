"""Icons in one style on one ground, and a sheet of all."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Annotated

from pydantic import Field

from models.agent.colours import COLOURS
from models.agent.plan import Subtask
from models.agent.prompts import coloured
from models.agent.said import ICON_WORDS, Said
from models.agent.templates.drawing import draw, folder, sheet
from models.agent.templates.template import Noun, SheetSlots, Template, counted
from models.jobs.results import Json

ICONS_MIN, ICONS_MAX, ICONS = 2, 12, 6
_MARKS = (":", "of", "for", "about", "showing", "with")


class IconSetSlots(SheetSlots):
    things: Annotated[list[Noun], Field(min_length=ICONS_MIN, max_length=ICONS_MAX, description="One for each icon.")]


class IconSet(Template):
    """See the module."""

    name = "icon_set"
    summary = f"{ICONS_MIN} to {ICONS_MAX} icons in one style on one ground"
    slots = IconSetSlots

    def fits(self, said: Said, files: Sequence[str]) -> int:
        return 3 * said.has(rf"{ICON_WORDS}|icon\s+set|icon\s+sheet")

    def fill(self, said: Said, files: Sequence[str]) -> dict[str, Json] | None:
        listed = said.items if len(said.items) > 1 else tuple(dict.fromkeys(each.noun for each in said.things))
        default = min(len(listed), ICONS_MAX) if len(listed) > 1 else ICONS
        count = counted(said, ICON_WORDS, ICONS_MIN, ICONS_MAX, default)
        things = _enough(listed or said.category, said, count)
        if not things:
            return None
        title = said.quotations[0] if said.quotations else ""
        return {"things": [*things], "ground": said.ground or "white", "style": said.style, "title": title}

    def _subtasks(self, slots: IconSetSlots, files: Sequence[str], seed: int) -> Iterable[Subtask]:
        where = folder("icons", files)
        images = [f"{where}/{number}.png" for number in range(1, len(slots.things) + 1)]
        for number, (noun, image) in enumerate(zip(slots.things, images, strict=True), 1):
            yield draw(f"Icon {number}: {noun}", noun, image, ground=slots.ground, style=slots.style)
        yield sheet(
            "Sheet of all icons",
            images,
            f"{where}/sheet.png",
            layout="grid",
            captions=slots.things,
            columns=math.ceil(math.sqrt(len(images))),
            title=slots.title,
        )


def _enough(listed: Sequence[str], said: Said, count: int) -> list[str]:
    """``count`` different things: those that are listed, others of their kind, and the first one in other colours."""
    subject = said.subject(_MARKS)
    things = list(listed) or ([subject] if any(map(str.isalpha, subject)) else [])
    if not things:
        return []
    things += [each for each in said.category if each not in things]
    things += [each for colour in COLOURS if (each := coloured(things[0], colour)) not in things]
    return things[:count]

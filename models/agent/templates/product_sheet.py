"""A product in several colours, as one sheet."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated

from pydantic import Field

from models.agent.colours import COLOURS, Colour
from models.agent.plan import Subtask
from models.agent.prompts import bare_noun, coloured
from models.agent.said import NUMBERS, Said
from models.agent.templates.drawing import draw, folder, sheet
from models.agent.templates.template import Noun, SheetSlots, Template, counted
from models.jobs.results import Json

COLOURS_MIN, COLOURS_MAX, COLOURS_DEFAULT = 2, 8, 5
FIRST_COLOURS = ("red", "blue", "green", "yellow", "purple", "orange", "pink", "black", "gray", "brown")
"""For a brief that says how many colours, but not which: those that people tell apart best, first."""
_COLOURS = r"colou?rs|colou?rways|colou?r\s+variants|variants"
_OTHER_GROUNDS = ("green", "black", *(each for each in COLOURS if each not in ("green", "black")))
"""Where the ground is one of the colours: those first on which the built-in checkpoint draws white things best."""
_NO_PRODUCT = re.compile(rf"\b(?:in|{_COLOURS}|products?|sheets?|as|one|[0-9]+|{'|'.join(NUMBERS)})\b", re.IGNORECASE)
_IN_ONE_ROW = 5


class ProductSheetSlots(SheetSlots):
    product: Noun
    colours: Annotated[list[Colour], Field(min_length=COLOURS_MIN, max_length=COLOURS_MAX)]


class ProductSheet(Template):
    """See the module."""

    name = "product_sheet"
    summary = f"a product in {COLOURS_MIN} to {COLOURS_MAX} colours as one sheet"
    slots = ProductSheetSlots

    def fits(self, said: Said, files: Sequence[str]) -> int:
        if said.has(rf"products?|{_COLOURS}"):
            return 3 if said.has(_COLOURS) or said.has("sheet") else 2
        return 2 * (len(said.colours) > 1 and said.has("in"))

    def fill(self, said: Said, files: Sequence[str]) -> dict[str, Json] | None:
        product = _product(said)
        if not product:
            return None
        stated = [each for each in said.colours if each != said.ground] if len(said.colours) > 1 else []
        count = counted(said, _COLOURS, COLOURS_MIN, COLOURS_MAX, min(len(stated), COLOURS_MAX) or COLOURS_DEFAULT)
        ground = said.ground or "white"
        others = [each for each in FIRST_COLOURS if each not in stated and each != ground]
        colours = [*stated, *others][:count]
        if ground in colours:
            ground = next(each for each in _OTHER_GROUNDS if each not in colours)
        title = said.quotations[0] if said.quotations else ""
        slots: dict[str, Json] = {"product": product, "colours": [*colours], "ground": ground}
        return slots | {"style": said.style, "title": title}

    def _heard(self, slots: Mapping[str, Json], said: Said) -> dict[str, Json]:
        heard = super()._heard(slots, said)
        return heard | ({"colours": [*said.colours[:COLOURS_MAX]]} if len(said.colours) > 1 else {})

    def _subtasks(self, slots: ProductSheetSlots, files: Sequence[str], seed: int) -> Iterable[Subtask]:
        where = folder("colours", files)
        colours = list(dict.fromkeys(slots.colours))
        images = [f"{where}/{number}-{colour.replace(' ', '-')}.png" for number, colour in enumerate(colours, 1)]
        for colour, image in zip(colours, images, strict=True):
            noun = coloured(slots.product, colour)
            yield draw(f"In {colour}: {slots.product}", noun, image, ground=slots.ground, style=slots.style)
        yield sheet(
            "Sheet of all colours",
            images,
            f"{where}/sheet.png",
            layout="grid",
            captions=colours,
            columns=len(images) if len(images) <= _IN_ONE_ROW else (len(images) + 1) // 2,
            title=slots.title,
        )


def _product(said: Said) -> str:
    """What is to be had in several colours: the first known thing, or what stands before or after the colours."""
    if said.things:
        return said.things[0].word
    named = said.after((":", "sheet of", "sheet for", "of", "for", "show", "draw", "make")) or said.rest
    before = named.partition(" in ")[0]
    return bare_noun(_NO_PRODUCT.sub(" ", before))

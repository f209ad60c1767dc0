"""A picture that people improve: it is drawn, shown, and drawn anew from what they say of it, in up to two rounds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated

from pydantic import Field

from models.agent.calls import Call
from models.agent.checks import Check
from models.agent.colours import Colour
from models.agent.plan import Subtask
from models.agent.prompts import WHITE, apart_from, bare_noun, coloured, drawing, prompt_text, scene
from models.agent.said import Said
from models.agent.templates.drawing import content_checks, draw, folder
from models.agent.templates.edit_then_upscale import pictures
from models.agent.templates.template import Detail, File, LookSlots, Noun, Scene, Template, exists
from models.jobs.results import Json

ROUNDS_MAX = 2
WISHES_MAX = ROUNDS_MAX
KEEP, AGAIN = "It is good as it is", "Draw it anew"
CHOICES = (KEEP, AGAIN, "Make it red", "Make it blue", "On a light blue background")
"""What people are offered; they may also write anything else."""
QUESTION = "What should be better in this picture?"
_IMPROVE = r"improv\w*|better|refine\w*|polish\w*|enhance\w*|feedback|iterat\w*|rounds?"
_DRAW = r"draw\w*|paint\w*|sketch\w*|illustrat\w*|picture|image|photo|portrait|logo|poster|create|generate|make"
_GOOD = re.compile(
    r"^(?:it is|it's|this is|looks?|yes|ok(?:ay)?|no|nothing|done|keep it)?[\s,.!]*"
    r"(?:good|great|fine|perfect|nice|ok(?:ay)?|done|keep it|nothing|lovely|as it is|changes?|very|so|enough|\s|[,.!])*$",
    re.IGNORECASE,
)
_STRENGTHS = (0.6, 0.8)
_MARKS = ("picture of", "image of", "drawing of", "photo of", "portrait of", "draw", "paint", "sketch", "generate",
          "create", "of", "make")  # fmt: skip


class ImproveSlots(LookSlots):
    subject: Annotated[Noun | None, Field(description="What to draw; not needed with a file.")] = None
    scene: Annotated[Scene | None, Field(description="All that it shows, for models that draw scenes.")] = None
    file: Annotated[File | None, Field(description="A picture to improve.")] = None
    rounds: Annotated[int, Field(ge=0, le=ROUNDS_MAX)] = ROUNDS_MAX
    wishes: Annotated[list[Scene], Field(max_length=WISHES_MAX, description="What people said, in order.")] = []
    ground: Colour = WHITE  # type: ignore[assignment]
    detail: Detail = "plain"


class Improve(Template):
    """See the module."""

    name = "improve"
    summary = f"one picture, improved by what you say of it in up to {ROUNDS_MAX} rounds"
    slots = ImproveSlots

    def fits(self, said: Said, files: Sequence[str]) -> int:
        if said.has(_IMPROVE):
            return 3
        return int(bool(said.things) or said.has(_DRAW))

    def fill(self, said: Said, files: Sequence[str]) -> dict[str, Json] | None:
        uploaded, subject = pictures(files), _subject(said)
        slots: dict[str, Json] = {"rounds": ROUNDS_MAX if said.has(_IMPROVE) else 0, "style": said.style}
        if subject:
            slots |= {"subject": subject, "scene": prompt_text(said.after(_MARKS)) or subject}
        elif not uploaded:
            return None
        named = next((file for file in uploaded if file.lower() in said.text.lower()), None)
        file = named or (uploaded[0] if uploaded and said.has(_IMPROVE) else None)
        return slots | {"file": file, "ground": said.ground or WHITE}

    def hear(self, slots: Mapping[str, Json], said: Said) -> dict[str, Json]:
        """The slots with the wish, or without further rounds if the picture is liked as it is."""
        wishes = [*_list(slots.get("wishes"))]
        if said.text == KEEP or _GOOD.match(said.text):
            return {**slots, "rounds": len(wishes)}
        wish = prompt_text(said.text)
        return {**slots, "wishes": [*wishes, wish][:WISHES_MAX]} if wish else {**slots}

    def _subtasks(self, slots: ImproveSlots, files: Sequence[str], seed: int) -> Iterable[Subtask]:
        where = folder("drafts", files)
        image = slots.file or f"{where}/1.png"
        look = _Look(slots)
        if slots.file is None:
            whole = slots.scene or "" if slots.detail == "scene" else ""
            yield draw("First picture", look.noun, image, ground=look.ground, style=look.style, scene=whole)
        for number in range(slots.rounds):
            said = slots.wishes[number] if number < len(slots.wishes) else None
            yield _ask(number + 1, image)
            look, before, image = look.with_wish(said), image, f"{where}/{number + 2}.png"
            yield _better(number + 1, look, before, image, is_anew=said == AGAIN)


class _Look:
    """What the picture shows after some wishes."""

    def __init__(self, slots: ImproveSlots) -> None:
        self.slots, self.style, self.extra = slots, slots.style, ""
        self.noun = slots.subject or "picture"
        self.ground = apart_from(slots.ground, self.noun)

    def with_wish(self, wish: str | None) -> _Look:
        """The look after another wish: a thing, a colour, a ground or a style if it says one, else its own words."""
        look = _Look(self.slots)
        look.noun, look.style, look.ground, look.extra = self.noun, self.style, self.ground, self.extra
        if wish is None or wish == AGAIN:
            return look
        said = Said.of(wish)
        thing, colour = (said.things or (None,))[0], (said.colours or (None,))[0]
        if (thing is not None and said.has("instead|not|rather|into|should be")) or (look.noun == "picture" and thing):
            look.noun = thing.noun if thing else look.noun
        if colour is not None:
            look.noun = coloured(look.noun, colour)
        look.style, look.ground = said.style or look.style, said.ground or look.ground
        if not (thing or colour or said.style or said.ground):
            look.extra = wish
        look.ground = apart_from(look.ground, look.noun)
        return look

    @property
    def prompt(self) -> str:
        if self.slots.detail == "scene":
            return scene(", ".join(filter(None, (self.slots.scene, self.noun, self.extra))), self.style)
        drawn = drawing(self.noun, self.ground, self.style)
        return f"{drawn}, {self.extra}" if self.extra else drawn


def _ask(number: int, image: str) -> Subtask:
    arguments: dict[str, Json] = {"question": QUESTION, "choices": [*CHOICES], "images": [image]}
    return Subtask(
        name=f"Feedback {number}",
        goal=f"somebody says what should be better in {image}",
        calls=(Call(tool="ask", arguments=arguments),),
    )


def _better(number: int, look: _Look, before: str, save_as: str, *, is_anew: bool) -> Subtask:
    """A subtask that draws the picture again from the one before, or anew if it is to look otherwise."""
    anew = Call(tool="txt2img", arguments={"prompt": look.prompt, "save_as": save_as})
    changed, freer = (
        Call(tool="img2img", arguments={"image": before, "prompt": look.prompt, "strength": each, "save_as": save_as})
        for each in _STRENGTHS
    )
    is_checked = look.noun != "picture" and look.slots.detail == "plain"
    ground = (Check.of("ground", file=save_as, colour=look.ground),) if is_checked else ()
    return Subtask(
        name=f"Picture after feedback {number}",
        goal=f"{save_as} shows {look.prompt}"[:500],
        milestones=(
            exists(save_as),
            Check.of("distinct", files=[before, save_as], least_distance=1),
            *(content_checks(save_as, look.noun) if look.noun != "picture" else ()),
            *ground,
        ),
        calls=(anew if is_anew else changed,),
        retry_calls=(anew if is_anew or is_checked else freer,),
    )


def _subject(said: Said) -> str:
    """What to draw: the first known thing, or the words after ``a picture of``."""
    if said.things:
        return said.things[0].noun
    words = re.sub(rf"\b(?:it|this|that|them|and|then|with|my|until|me|for|in|{_IMPROVE})\b", " ", said.after(_MARKS))
    return bare_noun(re.split(r"[.;!?\n]", words)[0])


def _list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []

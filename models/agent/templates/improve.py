"""An image that people improve: it is drawn, shown, and drawn anew from what they say of it, in up to two rounds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated

from pydantic import Field, model_validator

from models.agent.calls import Call
from models.agent.checks import Check
from models.agent.plan import Subtask
from models.agent.prompts import WHITE, apart_from, bare_noun, coloured, drawing, prompt_text, scene
from models.agent.said import Said
from models.agent.templates.drawing import content_checks, draw, folder
from models.agent.templates.edit_then_upscale import image_files, is_about_an_image
from models.agent.templates.template import Detail, File, LookSlots, Noun, Scene, Template, exists
from models.jobs.results import Json

ROUNDS_MAX = 2
REQUESTS_MAX = ROUNDS_MAX
KEEP, AGAIN = "It is good as it is", "Draw it anew"
CHOICES = (KEEP, AGAIN, "Make it red", "Make it blue", "On a light blue background")
"""What people are offered; they may also write anything else."""
QUESTION = "What should be better in this image?"
_IMPROVE = r"improv\w*|better|refine\w*|polish\w*|enhance\w*|feedback|iterat\w*|rounds?"
_DRAW = r"draw\w*|paint\w*|sketch\w*|illustrat\w*|picture|image|photo|portrait|logo|poster|create|generate|make"
_CONTENT = {"it", "it's", "is", "this", "that", "looks", "look", "yes", "ok", "okay", "no", "nothing", "more", "done",
            "keep", "good", "great", "fine", "perfect", "nice", "lovely", "as", "very", "so", "enough", "thanks",
            "thank", "you", "change", "changes", "i", "like"}  # fmt: skip
"""A feedback of these words alone asks for nothing."""
_ASIDE = re.compile(
    rf"[.;!?\n]|\s*(?:,|\band\b|\bthen\b|\bwith\b)+\s*(?:then\s+)?(?:make it|\w+ rounds|ask\b|{_IMPROVE})",
    re.IGNORECASE,
)
UNTOLD = "a clear and detailed image"
"""For an image of which nobody says what it shows."""
_STRENGTHS = (0.6, 0.8)
_MARKS = (":", "picture of", "image of", "drawing of", "photo of", "portrait of", "draw", "paint", "sketch", "generate",
          "create", "of", "make")  # fmt: skip


class ImproveSlots(LookSlots):
    subject: Annotated[Noun | None, Field(description="What to draw; not needed with a file.")] = None
    scene: Annotated[Scene | None, Field(description="All that it shows, for models that draw scenes.")] = None
    file: Annotated[File | None, Field(description="An image to improve.")] = None
    rounds: Annotated[int, Field(ge=0, le=ROUNDS_MAX)] = ROUNDS_MAX
    requests: Annotated[
        list[Scene], Field(max_length=REQUESTS_MAX, default_factory=list, description="What people said, in order.")
    ]
    detail: Detail = "plain"

    @model_validator(mode="after")
    def _shows_something(self) -> ImproveSlots:
        if self.subject is None and self.file is None:
            raise ValueError("a subject or a file is needed")
        return self


class Improve(Template):
    """See the module."""

    name = "improve"
    summary = f"one image, improved by what you say of it in up to {ROUNDS_MAX} rounds"
    slots = ImproveSlots

    def fits(self, said: Said, files: Sequence[str]) -> int:
        if said.has(_IMPROVE):
            return 3
        return int(bool(said.things) or said.has(_DRAW))

    def fill(self, said: Said, files: Sequence[str]) -> dict[str, Json] | None:
        uploaded, subject = image_files(files), _subject(said)
        if not uploaded and not said.has(_IMPROVE) and is_about_an_image(said):
            return None
        slots: dict[str, Json] = {"rounds": ROUNDS_MAX if said.has(_IMPROVE) else 0, "style": said.style}
        if subject:
            slots |= {"subject": subject, "scene": prompt_text(_ASIDE.split(said.after(_MARKS))[0]) or subject}
        elif not uploaded:
            return None
        named = next((file for file in uploaded if file.lower() in said.text.lower()), None)
        file = named or (uploaded[0] if uploaded and said.has(_IMPROVE) else None)
        return slots | {"file": file, "ground": said.ground or WHITE}

    def _heard(self, slots: Mapping[str, Json], said: Said) -> dict[str, Json]:
        """The slots with the request, or without further rounds if the image is liked as it is."""
        requests = [*_list(slots.get("requests"))]
        if said.text == KEEP or _CONTENT.issuperset(re.findall(r"[\w']+", said.text.lower())):
            return {**slots, "rounds": len(requests)}
        request = prompt_text(said.text)
        return {**slots, "requests": [*requests, request][:REQUESTS_MAX]} if request else {**slots}

    def _last_image(self, slots: ImproveSlots, subtasks: Sequence[Subtask]) -> str:
        """As in :class:`Template`; an uploaded image that is liked as it is has no subtasks."""
        return super()._last_image(slots, subtasks) if subtasks or slots.file is None else slots.file

    def _subtasks(self, slots: ImproveSlots, files: Sequence[str], seed: int) -> Iterable[Subtask]:
        where = folder("drafts", files)
        image = slots.file or f"{where}/1.png"
        look = _Look(slots)
        if slots.file is None:
            whole = slots.scene or "" if slots.detail == "scene" else ""
            yield draw("First image", look.noun, image, ground=look.ground, style=look.style, scene=whole)
        for number in range(slots.rounds):
            said = slots.requests[number] if number < len(slots.requests) else None
            yield _ask(number + 1, image)
            look, before, image = look.with_request(said), image, f"{where}/{number + 2}.png"
            yield _better(number + 1, look, before, image, is_anew=said == AGAIN)


class _Look:
    """What the image shows after some requests."""

    def __init__(self, slots: ImproveSlots) -> None:
        self.slots, self.style, self.extra = slots, slots.style, ""
        self.noun = slots.subject or ""
        self.ground = apart_from(slots.ground, self.noun)

    def with_request(self, request: str | None) -> _Look:
        """The look after another request: a thing, a colour, a ground or a style if it says one, else its own words."""
        look = _Look(self.slots)
        look.noun, look.style, look.ground, look.extra = self.noun, self.style, self.ground, self.extra
        if request is None or request == AGAIN:
            return look
        said = Said.of(request)
        thing = said.things[0] if said.things else None
        colour = said.colours[0] if said.colours else None
        if thing is not None and (not look.noun or said.has("instead|rather|into|should be")):
            look.noun = thing.noun
        if colour is not None and look.noun:
            look.noun = coloured(look.noun, colour)
        look.style, look.ground = said.style or look.style, said.ground or look.ground
        if not look.is_plain or not (thing or colour or said.style or said.ground):
            look.extra = request
        look.ground = apart_from(look.ground, look.noun)
        return look

    @property
    def is_plain(self) -> bool:
        """Whether it is one thing on a ground, which tools can check; an uploaded image keeps its ground."""
        return bool(self.noun) and self.slots.detail == "plain" and self.slots.file is None

    @property
    def prompt(self) -> str:
        if not self.is_plain:
            whole = self.slots.scene if self.slots.detail == "scene" else ""
            return scene(", ".join(filter(None, (whole, self.noun, self.extra))) or UNTOLD, self.style)
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
    """A subtask that draws the image again from the one before, or anew if it is to look otherwise."""
    anew = Call(tool="txt2img", arguments={"prompt": look.prompt, "save_as": save_as})
    changed, freer = (
        Call(tool="img2img", arguments={"image": before, "prompt": look.prompt, "strength": each, "save_as": save_as})
        for each in _STRENGTHS
    )
    ground = Check.of("ground", file=save_as, colour=look.ground)
    seen = (*content_checks(save_as, look.noun), ground) if look.is_plain else ()
    return Subtask(
        name=f"Image after feedback {number}",
        goal=f"{save_as} shows {look.prompt}"[:500],
        milestones=(
            exists(save_as),
            Check.of("changed", file=save_as, of=before),
            *seen,
        ),
        calls=(anew if is_anew else changed,),
        retry_calls=(anew if is_anew or look.is_plain else freer,),
    )


def _subject(said: Said) -> str:
    """What to draw: the first known thing, or the words after ``an image of``."""
    if said.things:
        return said.things[0].noun
    words = re.sub(rf"\b(?:it|this|that|them|and|then|with|my|until|me|for|in|{_IMPROVE})\b", " ", said.after(_MARKS))
    return bare_noun(re.split(r"[.;!?\n]", words)[0])


def _list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []

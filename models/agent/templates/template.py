"""What a template is: a plan with slots, and what feedback changes in it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from models.agent.checks import Check
from models.agent.colours import Colour
from models.agent.plan import Plan, Subtask
from models.agent.prompts import (
    CAPTION_MAX_CHARS,
    NOUN_MAX_CHARS,
    SCENE_MAX_CHARS,
    STYLE_MAX_CHARS,
    bare_noun,
    caption_text,
    prompt_text,
)
from models.agent.refusals import FILE_NAME_MAX_CHARS, BriefRefused, PlanRefused, checked_file
from models.agent.said import Said
from models.agent.templates.enlarging import SCALE_MAX, SCALE_MIN, asked_scale, enlarge, without_enlarging
from models.errors import shortened
from models.jobs.results import Json


def _noun(value: str) -> str:
    return _said(bare_noun(value))


def _scene(value: str) -> str:
    return _said(prompt_text(value))


def _said(text: str) -> str:
    if not text:
        raise ValueError("this says nothing that can be drawn")
    return text


def _file(value: str) -> str:
    return checked_file(value, "a file")


Noun = Annotated[str, Field(min_length=1, max_length=NOUN_MAX_CHARS), AfterValidator(_noun)]
"""A thing without its article, as in ``red balloon``."""
Scene = Annotated[str, Field(min_length=1, max_length=SCENE_MAX_CHARS), AfterValidator(_scene)]
Caption = Annotated[str, Field(max_length=CAPTION_MAX_CHARS), AfterValidator(caption_text)]
Style = Annotated[
    str, Field(max_length=STYLE_MAX_CHARS, description="As in watercolour; may be empty."), AfterValidator(prompt_text)
]
File = Annotated[str, Field(max_length=FILE_NAME_MAX_CHARS), AfterValidator(_file)]
Detail = Annotated[
    Literal["plain", "scene"],
    Field(description="plain: one thing on a ground, as the built-in checkpoint draws; scene: all that is said."),
]


class Slots(BaseModel):
    """The slots of a template."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class LookSlots(Slots):
    """The slots of templates that draw."""

    ground: Colour = "white"
    style: Style = ""
    scale: Annotated[
        int | None, Field(ge=SCALE_MIN, le=SCALE_MAX, description="How many times the last image is enlarged.")
    ] = None


class SheetSlots(LookSlots):
    """The slots of templates that end with a sheet."""

    title: Caption = ""


class Template(ABC):
    """A plan with slots, which needs no language model."""

    name: ClassVar[str]
    summary: ClassVar[str]
    """What it makes, in a sentence."""
    slots: ClassVar[type[Slots]]

    @abstractmethod
    def fill(self, said: Said, files: Sequence[str]) -> dict[str, Json] | None:
        """The slots that a brief fills, by rules; ``None`` if the brief does not say what is needed."""

    @abstractmethod
    def fits(self, said: Said, files: Sequence[str]) -> int:
        """How well a brief asks for this template; 0 if it does not."""

    def plan(self, slots: Mapping[str, Json], files: Sequence[str] = (), seed: int = 0) -> Plan:
        """The plan for ``slots``; the same arguments always give the same plan.

        Args:
            files: the files of the workspace, whose names the plan does not write to.
            seed: of the job; it decides what the slots leave open.

        Raises:
            PlanRefused: a slot is missing, unknown or makes no sense.
        """
        read = self.read(slots)
        subtasks = [*self._subtasks(read, files, seed)]
        if isinstance(read, LookSlots) and read.scale is not None:
            image = self._last_image(read, subtasks)
            subtasks.append(enlarge(image, f"{image.removesuffix('.png')}-enlarged.png", read.scale))
        return Plan.of(*subtasks)

    def read(self, slots: Mapping[str, Json]) -> Slots:
        """``slots``, checked.

        Raises:
            PlanRefused.
        """
        try:
            return self.slots.model_validate(slots)
        except ValidationError as error:
            said = error.errors(include_url=False, include_context=False, include_input=False)[0]
            place = shortened(".".join(map(str, said["loc"]))) or "slots"
            raise PlanRefused(f"{self.name}: {place}: {said['msg'].removeprefix('Value error, ')}") from None

    def hear(self, slots: Mapping[str, Json], said: Said) -> dict[str, Json]:
        """``slots`` after people said something of the images; what makes no sense is not heard."""
        heard = slots
        try:
            if (scale := asked_scale(said)) is not None:
                heard = {**slots, "scale": scale}
                said = Said.of(without_enlarging(said.text))
            heard = self._heard(heard, said)
            self.read(heard)
        except (BriefRefused, PlanRefused):
            return {**slots}
        return {**heard}

    def _heard(self, slots: Mapping[str, Json], said: Said) -> dict[str, Json]:
        heard: dict[str, Json] = {"ground": said.ground, "style": said.style}
        return {**slots} | {name: value for name, value in heard.items() if value and name in self.slots.model_fields}

    @classmethod
    def schema(cls) -> dict[str, Any]:
        """The JSON schema of the slots."""
        return cls.slots.model_json_schema()

    def _last_image(self, slots: Any, subtasks: Sequence[Subtask]) -> str:
        """The file that the last of ``subtasks`` writes, which is enlarged if that is asked for."""
        return str(subtasks[-1].calls[-1].arguments["save_as"])

    @abstractmethod
    def _subtasks(self, slots: Any, files: Sequence[str], seed: int) -> Iterable[Subtask]:
        """The subtasks for slots that :meth:`read` gave."""


def counted(said: Said, pattern: str, low: int, high: int, default: int) -> int:
    """The number that a brief says of what ``pattern`` means.

    Raises:
        BriefRefused: it is not from ``low`` to ``high``.
    """
    count = said.count(pattern)
    if count is None:
        return default
    if not (low <= count <= high and count.is_integer()):
        raise BriefRefused(f"there can be {low} to {high} of what the brief asks {count:.12g} of")
    return int(count)


def exists(*files: str) -> Check:
    return Check.of("exists", files=[*files])

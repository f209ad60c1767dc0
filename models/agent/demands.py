"""The kinds of checks: what each demands, which tools it asks, and how it judges their results."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from models.agent import colours
from models.agent.calls import Call
from models.agent.facts import FactMissing, Facts
from models.agent.refusals import FILE_NAME_MAX_CHARS, checked_file, checked_line
from models.errors import quoted
from models.jobs.payload import Payload
from models.jobs.results import Json

FILES_MAX, OTHERS_MAX = 16, 15
TEXT_MAX_CHARS = 300
SIDE_MAX_PX = 16_384
HASH_BITS = 64


def _file(value: str) -> str:
    return checked_file(value, "a file")


def _line(value: str) -> str:
    return checked_line(value, "a text", TEXT_MAX_CHARS)


_File = Annotated[
    str,
    Field(max_length=FILE_NAME_MAX_CHARS, description="A file of the workspace, as in panels/1.png."),
    AfterValidator(_file),
]
_Text = Annotated[str, Field(min_length=1, max_length=TEXT_MAX_CHARS), AfterValidator(_line)]
_Share = Annotated[float, Field(gt=0, le=1, description="A part of the image's pixels, from 0 to 1.")]
_Side = Annotated[int, Field(ge=1, le=SIDE_MAX_PX)]


@dataclass(frozen=True, kw_only=True)
class Verdict(Payload):
    """Whether a check passed, and what was found."""

    passed: bool
    sentence: str
    figures: dict[str, Json] = field(default_factory=dict)


class Demand(ABC, BaseModel):
    """The arguments of one kind of check."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    kind: ClassVar[str]

    @abstractmethod
    def calls(self) -> tuple[Call, ...]:
        """The calls whose results decide."""

    @abstractmethod
    def judge(self, found: Sequence[Facts]) -> Verdict:
        """The verdict on the facts of each of :meth:`calls`.

        Raises:
            FactMissing: a fact is missing, or garbage.
        """


class Exists(Demand):
    """The files are in the workspace, and not empty."""

    kind = "exists"
    files: Annotated[list[_File], Field(min_length=1, max_length=FILES_MAX)]

    @model_validator(mode="before")
    @classmethod
    def _with_files(cls, arguments: Any) -> Any:
        """``file``, as all other checks have it, is one of ``files``."""
        if isinstance(arguments, dict) and "files" not in arguments and "file" in arguments:
            return {"files": [arguments["file"]], **{name: each for name, each in arguments.items() if name != "file"}}
        return arguments

    def calls(self) -> tuple[Call, ...]:
        folders = dict.fromkeys(name.rpartition("/")[0] for name in self.files)
        return tuple(Call(tool="list_files", arguments={"below": each} if each else {}) for each in folders)

    def judge(self, found: Sequence[Facts]) -> Verdict:
        listed = (each for facts in found for each in facts.parts("files"))
        sizes = {each.text("name"): each.count("size_bytes") for each in listed}
        missing = [name for name in self.files if not sizes.get(name)]
        sentence = f"there is no {_listed(missing)}" if missing else f"{_listed(self.files)} exists"
        return Verdict(passed=not missing, sentence=sentence, figures={"missing": [*missing]})


class Size(Demand):
    """The image has exactly, or at least, so many pixels."""

    kind = "size"
    file: _File
    width: _Side | None = None
    height: _Side | None = None
    least_width: _Side | None = None
    least_height: _Side | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Size:
        if not (self.width or self.height or self.least_width or self.least_height):
            raise ValueError("one of width, height, least_width and least_height is needed")
        return self

    def calls(self) -> tuple[Call, ...]:
        return (_measure(self.file),)

    def judge(self, found: Sequence[Facts]) -> Verdict:
        width, height = found[0].count("width"), found[0].count("height")
        is_exact = self.width in (None, width) and self.height in (None, height)
        is_enough = width >= (self.least_width or 0) and height >= (self.least_height or 0)
        wanted = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in self if name != "file" and value)
        sentence = f"{self.file} has {width} x {height} px; wanted: {wanted}"
        return Verdict(passed=is_exact and is_enough, sentence=sentence, figures={"width": width, "height": height})


class Scaled(Demand):
    """The image is so many times as wide and high as another one."""

    kind = "scaled"
    file: _File
    of: _File
    factor: Annotated[float, Field(gt=0, le=16)]

    def calls(self) -> tuple[Call, ...]:
        return (_measure(self.file), _measure(self.of))

    def judge(self, found: Sequence[Facts]) -> Verdict:
        (width, height), (of_width, of_height) = ((each.count("width"), each.count("height")) for each in found)
        off = max(abs(width - self.factor * of_width), abs(height - self.factor * of_height))
        sentence = f"{self.file} has {width} x {height} px, and {self.of} {of_width} x {of_height} px"
        passed = off <= max(1.0, 0.01 * max(width, height))
        return Verdict(
            passed=passed, sentence=f"{sentence}; wanted: {self.factor:g} times as many", figures={"off": off}
        )


class Likeness(Demand):
    """The image is more like the text than like other texts, or like it by a number at least."""

    kind = "likeness"
    file: _File
    text: _Text
    others: Annotated[
        list[_Text], Field(max_length=OTHERS_MAX, default_factory=list, description="Texts that fit it less.")
    ]
    place: Annotated[int, Field(ge=1, le=5, description="Among how many of the nearest texts it must be.")] = 1
    least: Annotated[float | None, Field(ge=-1, le=1, description="The least cosine similarity.")] = None
    model: Annotated[str | None, Field(min_length=1, max_length=200)] = None

    @model_validator(mode="after")
    def _says_something(self) -> Likeness:
        if not self.others and self.least is None:
            raise ValueError("others or least is needed")
        return self

    def calls(self) -> tuple[Call, ...]:
        arguments: dict[str, Json] = {"image": self.file, "texts": [self.text, *self.others]}
        return (Call(tool="similarity", arguments=arguments | ({"model": self.model} if self.model else {})),)

    def judge(self, found: Sequence[Facts]) -> Verdict:
        own, *others = found[0].numbers("text_similarities", 1 + len(self.others), -1.01, 1.01)
        nearer = [text for text, value in zip(self.others, others, strict=True) if value >= own]
        is_near = self.least is None or own >= self.least
        what = f"{self.file} is like {quoted(self.text)} by {own:.2f}"
        if nearer:
            what += f", and more like {_listed([quoted(text) for text in nearer])}"
        elif not is_near:
            what += f", less than {self.least:g}"
        figures: dict[str, Json] = {"similarity": own, "others": [*others]}
        return Verdict(passed=len(nearer) < self.place and is_near, sentence=what, figures=figures)


class Label(Demand):
    """The label is among the first ones that a classifier gives the image."""

    kind = "label"
    file: _File
    label: Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_line)]
    top_k: Annotated[int, Field(ge=1, le=20)] = 5
    model: Annotated[str | None, Field(min_length=1, max_length=200)] = None

    def calls(self) -> tuple[Call, ...]:
        arguments: dict[str, Json] = {"image": self.file, "top_k": self.top_k}
        return (Call(tool="classify", arguments=arguments | ({"model": self.model} if self.model else {})),)

    def judge(self, found: Sequence[Facts]) -> Verdict:
        seen = [(each.text("label"), each.number("probability", 0, 1.01)) for each in found[0].parts("labels")]
        if not (seen := seen[: self.top_k]):
            raise FactMissing(f"classify of {self.file} gave no labels")
        is_found = self.label.casefold() in (label.casefold() for label, _ in seen)
        listed = _listed([f"{quoted(label)} ({probability:.0%})" for label, probability in seen], self.top_k)
        sentence = f"{self.file} shows {listed}; wanted: {quoted(self.label)}"
        return Verdict(passed=is_found, sentence=sentence, figures={"labels": [label for label, _ in seen]})


class Colour(Demand):
    """A part of the image has the colour."""

    kind = "colour"
    file: _File
    colour: colours.Colour
    least_share: _Share = 0.05

    def calls(self) -> tuple[Call, ...]:
        return (_measure(self.file),)

    def judge(self, found: Sequence[Facts]) -> Verdict:
        shares = [(each.text("hex"), each.number("share", 0, 1.01)) for each in found[0].parts("colours")]
        share = min(sum(share for code, share in shares if colours.is_colour(code, self.colour)), 1.0)
        sentence = f"{share:.0%} of {self.file} is {self.colour}; wanted: {self.least_share:.0%}"
        return Verdict(passed=share >= self.least_share, sentence=sentence, figures={"share": share})


class Ground(Demand):
    """The edge of the image has the colour, as the ground around a thing has."""

    kind = "ground"
    file: _File
    colour: colours.Colour

    def calls(self) -> tuple[Call, ...]:
        return (_measure(self.file),)

    def judge(self, found: Sequence[Facts]) -> Verdict:
        code = found[0].part("ground").text("hex")
        sentence = f"the edge of {self.file} is {quoted(code)}; wanted: {self.colour}"
        return Verdict(passed=colours.is_colour(code, self.colour), sentence=sentence, figures={"hex": code[:7]})


class Text(Demand):
    """The image shows the text."""

    kind = "text"
    file: _File
    text: _Text

    def calls(self) -> tuple[Call, ...]:
        return (Call(tool="find_text", arguments={"image": self.file, "text": self.text}),)

    def judge(self, found: Sequence[Facts]) -> Verdict:
        is_found = found[0].flag("found")
        sentence = f"{self.file} {'shows' if is_found else 'does not show'} the text {quoted(self.text)}"
        return Verdict(passed=is_found, sentence=sentence, figures={"found": is_found})


class Changed(Demand):
    """The two images differ."""

    kind = "changed"
    file: _File
    of: _File

    def calls(self) -> tuple[Call, ...]:
        return (Call(tool="compare_images", arguments={"first": self.of, "second": self.file}),)

    def judge(self, found: Sequence[Facts]) -> Verdict:
        is_equal = found[0].flag("equal")
        sentence = f"{self.file} {'has the same pixels as' if is_equal else 'differs from'} {self.of}"
        return Verdict(passed=not is_equal, sentence=sentence)


class Distinct(Demand):
    """No two of the files look the same, by their perceptual hashes."""

    kind = "distinct"
    files: Annotated[list[_File], Field(min_length=2, max_length=FILES_MAX)]
    least_distance: Annotated[int, Field(ge=1, le=HASH_BITS, description="Bits of 64 that differ.")] = 1

    def calls(self) -> tuple[Call, ...]:
        return tuple(_measure(file) for file in self.files)

    def judge(self, found: Sequence[Facts]) -> Verdict:
        hashes = [_bits(each.text("hash"), file) for each, file in zip(found, self.files, strict=True)]
        pairs = combinations(zip(self.files, hashes, strict=True), 2)
        distance, first, second = min(((one ^ two).bit_count(), a, b) for (a, one), (b, two) in pairs)
        sentence = f"{first} and {second} are the nearest two, {distance} bits apart; wanted: {self.least_distance}"
        return Verdict(passed=distance >= self.least_distance, sentence=sentence, figures={"distance": distance})


class Frames(Demand):
    """The animation has exactly so many frames."""

    kind = "frames"
    file: _File
    count: Annotated[int, Field(ge=1, le=1000)]

    def calls(self) -> tuple[Call, ...]:
        return (_measure(self.file),)

    def judge(self, found: Sequence[Facts]) -> Verdict:
        frames = found[0].count("frames")
        sentence = f"{self.file} has {frames} frames; wanted: {self.count}"
        return Verdict(passed=frames == self.count, sentence=sentence, figures={"frames": frames})


DEMANDS: dict[str, type[Demand]] = {
    each.kind: each for each in (Exists, Size, Scaled, Likeness, Label, Colour, Ground, Text, Changed, Distinct, Frames)
}
"""Each kind of check by its name."""


def _measure(file: str) -> Call:
    return Call(tool="measure", arguments={"image": file})


def _bits(code: str, file: str) -> int:
    """The bits of a perceptual hash, which is written as 16 hexadecimal digits."""
    try:
        bits = int(code[: HASH_BITS // 4 + 1], 16)
    except ValueError:
        bits = -1
    if not 0 <= bits < 1 << HASH_BITS:
        raise FactMissing(f"measure of {file} gave a hash that is none")
    return bits


def _listed(words: Sequence[Any], count: int = 4) -> str:
    """``words`` in a sentence, the first ``count`` of them."""
    return ", ".join(map(str, words[:count])) + (" and others" if len(words) > count else "")

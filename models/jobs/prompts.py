"""Parses the prompt syntax of A1111: weights, ``BREAK`` and LoRA tags."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from types import MappingProxyType
from typing import NamedTuple

from models.errors import PhotogramError, quoted

WEIGHT_MAX = 100.0
"""The largest absolute value of a weight, of a text or of a LoRA."""
STEP = 1.1
"""The factor of one pair of brackets without a number; square brackets divide by it."""

_FACTORS: Mapping[str, float] = MappingProxyType({"(": STEP, "[": 1 / STEP})
_OPENING_OF: Mapping[str, str] = MappingProxyType({")": "(", "]": "["})
NUMBER = r"[+-]?(?:\d++(?:\.\d*+)?|\.\d++)"
"""Matches a weight as people write it, without an exponent."""
_TAG = r"<(?P<tag>lora|lyco|hypernet):(?P<body>[^<>]*+)(?P<closed>>)?"
_TOKEN = re.compile(
    rf"""
      \\[()\[\]\\]                                 # an escaped bracket or backslash
    | {_TAG}
    | :\s*+(?P<weight>[+-]?[.\d]++)\s*+\)          # the end of (text:1.2)
    | (?P<when>:\s*+{NUMBER}(?:e[+-]?\d++)?(?=\s*+\]))  # the end of [from:to:0.5], without the bracket
    | [()\[\]|]
    | [^\\()\[\]:|<]++
    | .                                            # a backslash, colon or < without a meaning
    """,
    re.VERBOSE | re.DOTALL,
)
_TAG_FORM = "<lora:name:weight>"
_ALL_BLOCKS = re.compile(r"ALL|1(?:\.0*)?(?:\s*,\s*1(?:\.0*)?)*+", re.IGNORECASE)
"""The value of ``lbw=``, of the extension LoRA Block Weight, that leaves every block at the tag's own weight."""
_EDITING = "prompt editing [from:to:when] is not supported; to weaken a text, write (text:0.9)"
_ALTERNATION = "alternating texts [a|b] are not supported; write one of the texts, or both"


class PromptError(PhotogramError, ValueError):
    """A prompt with an error; ``position`` is the index of the character."""

    def __init__(self, reason: str, position: int) -> None:
        super().__init__(f"{reason} (at character {position + 1} of the prompt)")
        self.reason = reason
        self.position = position


class UnsupportedPromptSyntax(PromptError):
    """A prompt with syntax of A1111 that Photogram does not support."""


@dataclass(frozen=True)
class Fragment:
    """Text of one weight, with brackets removed and escapes resolved."""

    text: str
    weight: float = 1.0


@dataclass(frozen=True)
class Break:
    """The word ``BREAK``: the text after it starts a new chunk of tokens."""


class LoraTag(NamedTuple):
    """The LoRA of one tag."""

    name: str
    weight: float
    text_encoder_weight: float | None = None
    """The weight in the text encoders, if it is another one."""


@dataclass(frozen=True)
class Parsed:
    """A parsed prompt."""

    fragments: tuple[Fragment | Break, ...]
    """In order. No text is empty, and neighbouring texts differ in weight."""
    loras: tuple[LoraTag, ...]
    """The LoRA of each tag, in order."""


def parse(prompt: str) -> Parsed:
    r"""Parse a prompt, in time linear in its length.

    ==================  ==============================================================================================
    ``(text)``          the weight of the text is multiplied by 1.1; brackets nest, and their factors multiply
    ``(text:1.3)``      ... by 1.3; signs are allowed; with other characters, as in ``(text:1e9)``, it is text
    ``[text]``          ... by 1 / 1.1
    ``\( \) \[ \] \\``  the character itself
    ``BREAK``           a new chunk, if the word stands alone in capitals; the whitespace around it is removed
    ``<lora:n:0.8>``    a LoRA and its weight; ``<lora:n>`` has weight 1; the tag is not part of the text
    ``<lora:n:1:0.5>``  ... with weight 1 in the text encoders and 0.5 in the denoiser, also as ``te=1:unet=0.5``
    ``<lyco:n:0.8>``    the same as ``<lora:n:0.8>``
    ==================  ==============================================================================================

    A bracket that is never closed applies to the rest of the prompt; a closing bracket without an opening one is text.
    Round and square brackets are matched independently: in ``(a [b) c]`` both apply to ``b``. This is the behaviour of
    A1111 (``parse_prompt_attention``), except that ``BREAK`` also works inside brackets.

    Raises:
        UnsupportedPromptSyntax: ``[from:to:0.5]``, ``[text:0.5]``, ``[a|b]``, or a tag of a type other than LoRA.
        PromptError: a weight is not a number or exceeds ``WEIGHT_MAX``, or a tag has no name or no end.
    """
    tokens = list(_TOKEN.finditer(prompt))
    brackets = _Brackets.match(tokens)
    return Parsed(tuple(_fragments(tokens, brackets)), tuple(_lora(token) for token in tokens if token["tag"]))


def extract_loras(prompt: str) -> tuple[str, list[LoraTag]]:
    """The prompt without its LoRA tags and otherwise unchanged, and the LoRA of each tag.

    Raises:
        PromptError, UnsupportedPromptSyntax: for tags, as :func:`parse`.
    """
    return re.sub(_TAG, "", prompt), [_lora(tag) for tag in re.finditer(_TAG, prompt)]


def _lora(tag: re.Match[str]) -> LoraTag:
    """The tag as webui reads it: weights by place or as ``te=`` and ``unet=``; a missing one is the one before it."""
    if tag["tag"] not in ("lora", "lyco"):
        raise UnsupportedPromptSyntax(f"<{tag['tag']}:...> is not supported, only {_TAG_FORM}", tag.start())
    if tag["closed"] is None:
        raise PromptError(f"a LoRA tag has no closing >; write {_TAG_FORM}", tag.start())
    name, *rest = (part.strip() for part in tag["body"].split(":"))
    if not name:
        raise PromptError(f"a LoRA tag has no name; write {_TAG_FORM}", tag.start())
    placed = [part for part in rest if "=" not in part]
    if len(placed) > 2:
        raise UnsupportedPromptSyntax(f"a LoRA has at most two weights; write {_TAG_FORM}", tag.start())
    named = dict(_named(part, tag.start()) for part in rest if "=" in part)
    numbers = dict(zip(("te", "unet"), placed, strict=False)) | named
    text_encoder_weight = _weight(numbers.get("te", "1"), tag.start())
    weight = _weight(numbers["unet"], tag.start()) if "unet" in numbers else text_encoder_weight
    return LoraTag(name, weight, None if weight == text_encoder_weight else text_encoder_weight)


def _named(part: str, position: int) -> tuple[str, str]:
    """Name and number of one ``name=number`` of a tag; one that changes nothing has the name ``""``."""
    name, _, number = (each.strip() for each in part.partition("="))
    if name.lower() in ("te", "unet"):
        return name.lower(), number
    if name.lower() == "lbw" and _ALL_BLOCKS.fullmatch(number):
        return "", number
    raise UnsupportedPromptSyntax(f"{name[:40]}= is not supported in a LoRA tag; write {_TAG_FORM}", position)


def _weight(number: str, position: int) -> float:
    if not re.fullmatch(NUMBER, number):
        raise PromptError(f"a weight must be a number such as 0.8, not {quoted(number)}", position)
    return bounded_weight(float(number), position)


def bounded_weight(weight: float, position: int) -> float:
    """``weight``, which stands at ``position``; raises :class:`PromptError` if it exceeds ``WEIGHT_MAX``."""
    if not abs(weight) <= WEIGHT_MAX:  # nested brackets can give infinity or NaN
        raise PromptError(f"weights must be from -{WEIGHT_MAX:g} to {WEIGHT_MAX:g}", position)
    return weight


@dataclass
class _Brackets:
    """The tokens that are brackets; other tokens that look like brackets are text."""

    factors: dict[int, float] = field(default_factory=dict)
    """The factor of each opening bracket, by the index of its token."""
    closing: dict[int, str] = field(default_factory=dict)
    """The type of each closed bracket, ``(`` or ``[``, by the index of the closing token."""
    _open: dict[str, list[int]] = field(default_factory=lambda: {"(": [], "[": []})
    _bars: dict[int, int] = field(default_factory=dict)
    """The position of the first ``|`` directly inside a square bracket, by the index of that bracket."""

    @classmethod
    def match(cls, tokens: list[re.Match[str]]) -> _Brackets:
        """Match the brackets among ``tokens``.

        Raises:
            PromptError, UnsupportedPromptSyntax: as :func:`parse`.
        """
        brackets = cls()
        for index, token in enumerate(tokens):
            if token[0] in _FACTORS:
                brackets._open[token[0]].append(index)
                brackets.factors[index] = _FACTORS[token[0]]
            elif token["weight"] or token[0] in _OPENING_OF:
                brackets._close(index, token)
            elif (square := brackets._innermost_square()) is not None:
                if token["when"]:
                    raise UnsupportedPromptSyntax(_EDITING, tokens[square].start())
                if token[0] == "|":
                    brackets._bars.setdefault(square, token.start())
        return brackets

    def _innermost_square(self) -> int | None:
        """The index of the bracket that was opened last, if it is a square one."""
        round_, square = ((opened or [-1])[-1] for opened in self._open.values())
        return square if square > round_ else None

    def _close(self, index: int, token: re.Match[str]) -> None:
        """Close the last open bracket of the token's type, if there is one."""
        bracket = _OPENING_OF[token[0][-1]]
        if not self._open[bracket]:
            return
        opening = self._open[bracket].pop()
        if opening in self._bars:
            raise UnsupportedPromptSyntax(_ALTERNATION, self._bars[opening])
        self.closing[index] = bracket
        if token["weight"]:
            self.factors[opening] = _weight(token["weight"], token.start())


def _fragments(tokens: list[re.Match[str]], brackets: _Brackets) -> Iterator[Fragment | Break]:
    for weight, run in groupby(_weighed(tokens, brackets), key=lambda piece: piece[1]):
        parts = re.split(r"\bBREAK\b", "".join(text for text, _ in run))
        for number, part in enumerate(parts):
            if number > 0:
                yield Break()
                part = part.lstrip()
            if number < len(parts) - 1:
                part = part.rstrip()
            if part:
                yield Fragment(part, weight)


def _weighed(tokens: list[re.Match[str]], brackets: _Brackets) -> Iterator[tuple[str, float]]:
    """The text of each token that is text, and the product of the factors of all brackets around it."""
    products: dict[str, list[float]] = {"(": [1.0], "[": [1.0]}
    for index, token in enumerate(tokens):
        text = token[0]
        if index in brackets.factors:
            products[text].append(products[text][-1] * brackets.factors[index])
        elif index in brackets.closing:
            products[brackets.closing[index]].pop()
        elif not token["tag"]:
            is_escaped = len(text) > 1 and text[0] == "\\"
            weight = bounded_weight(products["("][-1] * products["["][-1], token.start())
            yield text[1:] if is_escaped else text, weight

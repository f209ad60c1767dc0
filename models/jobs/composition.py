"""Composed prompts: parts joined by ``AND``, each with a weight of its own (composable diffusion).

Liu et al. 2022, arXiv 2206.01714, as in A1111: the prediction is that of the negative prompt, plus the guidance scale
times the weighted sum of each part's difference from it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from models.catalog.styles import Style, apply_style
from models.jobs.prompts import NUMBER, Fragment, PromptError, bounded_weight, parse

PARTS_MAX = 8
"""The largest number of parts with a weight other than 0; each is one more input of every forward."""
_AND = re.compile(r"\bAND\b")


@dataclass(frozen=True)
class Part:
    """One part of a composed prompt."""

    text: str
    """In the syntax of :func:`models.jobs.prompts.parse`; may be empty."""
    weight: float = 1.0


@dataclass(frozen=True)
class Composition:
    """A prompt as the engine encodes it: the texts of all parts whose weight is not 0, and their weights."""

    texts: tuple[str, ...]
    weights: tuple[float, ...] | None
    """``None`` for a plain prompt: one text of weight 1."""


def compose(prompt: str) -> Composition:
    """The parts of ``prompt``; parts of weight 0 are left out, and cost nothing.

    ``AND`` joins parts if it stands alone in capitals. A number after the last colon of a part is its weight; a prompt
    without ``AND`` has no such weight, and is kept to the letter. The content of the parts is not checked.

    Raises:
        PromptError: a weight exceeds ``WEIGHT_MAX``, or more than ``PARTS_MAX`` parts are left.
    """
    parts = [part for part, _ in _parts(prompt) if part.weight != 0]
    if len(parts) > PARTS_MAX:
        raise PromptError(f"at most {PARTS_MAX} parts can be composed by AND, not {len(parts)}", 0)
    texts, weights = tuple(part.text for part in parts), tuple(part.weight for part in parts)
    return Composition(texts, None if weights == (1.0,) else weights)


def count_parts(prompt: str) -> int:
    """The number of parts that are drawn, at least 1; raises as :func:`compose`. Each makes every step longer."""
    return max(1, len(compose(prompt).texts))


def is_composed(prompt: str) -> bool:
    """Whether ``AND`` joins parts of ``prompt``."""
    return _AND.search(prompt) is not None


def plain_text(prompt: str) -> str:
    """What ``prompt`` asks for, in words alone: without brackets, weights and tags, and without texts of no weight.

    Raises:
        PromptError: as :func:`check_composition`.
    """
    texts = (_words(part.text) for part, _ in _parts(prompt) if part.weight > 0)
    return ", ".join(filter(None, texts))


def _words(text: str) -> str:
    """The fragments of one part that have a weight above 0, with single spaces."""
    fragments = parse(text).fragments
    kept = [each for each in fragments if not isinstance(each, Fragment) or each.weight > 0]
    return " ".join("".join(each.text if isinstance(each, Fragment) else " " for each in kept).split())


def styled(style: Style, prompt: str, negative_prompt: str) -> tuple[str, str]:
    """Prompt and negative prompt with the words of ``style``, which go around the text of each part."""
    if not is_composed(prompt):
        return apply_style(style, prompt, negative_prompt)
    parts = [apply_style(style, part.text, "")[0] + _ending(part.weight) for part, _ in _parts(prompt)]
    return " AND ".join(parts), apply_style(style, "", negative_prompt)[1]


def _ending(weight: float) -> str:
    return "" if weight == 1 else f" :{Decimal(repr(weight)):f}"  # ":f", because weights have no exponents


def check_composition(prompt: str) -> bool:
    """Check ``prompt`` and the syntax of each of its parts; return whether any part has a LoRA tag.

    Raises:
        PromptError: as :func:`compose`, and as :func:`models.jobs.prompts.parse` for each part.
    """
    compose(prompt)
    return any([_has_loras(part.text, start) for part, start in _parts(prompt)])


def _has_loras(text: str, start: int) -> bool:
    """Whether ``text``, which begins at ``start`` of the prompt, has a LoRA tag."""
    try:
        return bool(parse(text).loras)
    except PromptError as error:
        raise type(error)(error.reason, start + error.position) from None


def _parts(prompt: str) -> Iterator[tuple[Part, int]]:
    """Each part, and the index of its first character."""
    if not is_composed(prompt):
        yield Part(prompt), 0
        return
    start = 0
    for match in [*_AND.finditer(prompt), None]:
        end = len(prompt) if match is None else match.start()
        text = prompt[start:end]
        yield _part(text, start), start + len(text) - len(text.lstrip())
        start = end if match is None else match.end()


def _part(text: str, start: int) -> Part:
    before, colon, number = text.rpartition(":")
    if not colon or not re.fullmatch(NUMBER, number.strip()):
        return Part(text.strip())
    return Part(before.strip(), bounded_weight(float(number), start + len(before)))

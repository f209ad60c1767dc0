"""Checks of single values: each gives what is wrong with a value in words, or ``None``; and where problems are kept."""

from __future__ import annotations

from collections.abc import Iterable

from models.catalog.auxiliary import AuxiliaryModel, AuxiliaryModels
from models.catalog.families import FamilyFacts
from models.catalog.samplers import REFUSED, SAMPLERS, sampler_problem
from models.errors import FieldProblem, InvalidTicket
from models.jobs.params import PROMPT_MAX_CHARS, SEED_MAX

_LISTED_MAX = 12


class Problems:
    """What is wrong with a request, collected so that all of it can be told at once."""

    def __init__(self) -> None:
        self._found: list[FieldProblem] = []

    def note(self, field: str, message: str | None) -> None:
        """Keep ``message``, if there is one, as what is wrong with ``field``."""
        if message is not None:
            self._found.append(FieldProblem(field, message))

    def raise_if_any(self) -> None:
        """Raise :class:`InvalidTicket` with everything noted."""
        if self._found:
            raise InvalidTicket(self._found)


def range_problem(value: float, low: float, high: float) -> str | None:
    """Unless ``value`` is from ``low`` to ``high``."""
    return None if low <= value <= high else f"must be from {low:g} to {high:.16g}"


def choice_problem(value: str, choices: Iterable[str]) -> str | None:
    """Unless ``value`` is one of ``choices``."""
    return None if value in choices else f"must be one of {', '.join(choices)}"


def text_problem(text: str) -> str | None:
    """Unless ``text`` can be a prompt."""
    if len(text) > PROMPT_MAX_CHARS:
        return f"must have at most {PROMPT_MAX_CHARS} characters, has {len(text)}"
    if "\0" in text:
        return "must not contain NUL characters"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "must be valid Unicode text"
    return None


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """That there is no ``what`` of that name, and the names of the first few that there are."""
    names = list(known)
    if not names:
        return f"there is no {what} {name!r}: the catalog has none"
    more = f" and {len(names) - _LISTED_MAX} more" if len(names) > _LISTED_MAX else ""
    return f"there is no {what} {name!r}; there are: {', '.join(names[:_LISTED_MAX])}{more}"


def extra_problem(
    what: str, name: str, extra: AuxiliaryModel | None, extras: AuxiliaryModels, family: str
) -> str | None:
    """Unless ``extra``, which ``name`` was resolved to, can be used with models of ``family``."""
    if extra is None:
        return unknown(what, name, extras)
    if extra.family not in (None, family):
        return f"the {what} {extra.name!r} is made for models of {extra.family}, not of {family}"
    return None


def sampling_problem(name: str, steps: int, facts: FamilyFacts, *, img2img: bool) -> str | None:
    """Unless models of the family can sample by ``name``, with so many steps, over an image if ``img2img``."""
    if name not in SAMPLERS and name not in REFUSED:
        return unknown("sampler", name, SAMPLERS)
    return sampler_problem(name, num_inference_steps=max(steps, 1), kind=facts.trained_on, img2img=img2img)


def strength_problem(strength: float, steps: int) -> str | None:
    """Unless some of the steps are run; pipelines run ``int(steps * strength)`` of them."""
    if not 0 < strength <= 1:
        return "must be above 0 and at most 1"
    if steps >= 1 and int(min(steps, SEED_MAX) * strength) < 1:
        return f"leaves none of {steps} steps to be run; it must be at least {1 / steps:.3g}"
    return None

"""Checks of single values of a request, each of which returns a :class:`Problem` or ``None``; and their collection."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from models.catalog.auxiliary import AuxiliaryModel, AuxiliaryModels
from models.catalog.catalog import Catalog
from models.catalog.families import FamilyFacts
from models.catalog.names import unknown_name
from models.catalog.samplers import REFUSED, SAMPLERS, sampler_problem
from models.catalog.upscalers import BUILT_IN_UPSCALERS, find_known_upscaler, find_upscaler
from models.errors import FieldProblem, InvalidTicket, Problem, ProblemCode
from models.jobs.params import PROMPT_MAX_CHARS, JobRequest
from models.jobs.sources import source_problem, sources_of

_FOUND_MAX = 64
"""Further problems are not kept: a request may have thousands, and no answer lists that many."""

_T = TypeVar("_T")


class Problems:
    """Collects what is wrong with a request, so that the caller learns it at once."""

    def __init__(self) -> None:
        self._found: list[FieldProblem] = []

    def note(self, field: str, problem: Problem | str | None) -> None:
        """Add ``problem``, if there is one, as a problem of ``field``."""
        if problem is not None:
            self.add([FieldProblem.of(field, problem)])

    def add(self, problems: Iterable[FieldProblem]) -> None:
        """Add problems that name their fields already."""
        for each in problems:
            if len(self._found) >= _FOUND_MAX:
                return
            if each not in self._found:
                self._found.append(each)

    @property
    def found(self) -> tuple[FieldProblem, ...]:
        """All problems so far, at most 64."""
        return tuple(self._found)

    def raise_if_any(self) -> None:
        """Raise :class:`InvalidTicket` with all problems, if there are any."""
        if self._found:
            raise InvalidTicket(self._found)


def value_or(value: _T | None, default: _T) -> _T:
    """``value``, or ``default`` where the request leaves it open."""
    return default if value is None else value


def range_problem(value: float, low: float, high: float) -> Problem | None:
    """A problem unless ``value`` is from ``low`` to ``high``."""
    if low <= value <= high:
        return None
    return Problem(f"must be from {low:g} to {high:.16g}", ProblemCode.OUT_OF_RANGE, low, high)


def choice_problem(value: str, choices: Iterable[str]) -> Problem | None:
    """A problem unless ``value`` is one of ``choices``."""
    allowed = tuple(choices)
    if value in allowed:
        return None
    return Problem(f"must be one of {', '.join(allowed)}", ProblemCode.NOT_ALLOWED, allowed=allowed)


def text_problem(text: str) -> Problem | None:
    """A problem unless ``text`` can be a prompt."""
    if len(text) > PROMPT_MAX_CHARS:
        message = f"must have at most {PROMPT_MAX_CHARS} characters, has {len(text)}"
        return Problem(message, ProblemCode.TOO_LONG, high=PROMPT_MAX_CHARS)
    if "\0" in text:
        return Problem("must not contain NUL characters", ProblemCode.MALFORMED)
    try:
        text.encode()
    except UnicodeEncodeError:
        return Problem("must be valid Unicode text", ProblemCode.MALFORMED)
    return None


def required_text_problem(text: str) -> Problem | None:
    """A problem unless ``text`` can be a prompt and says something."""
    return text_problem(text) or (None if text.strip() else Problem("must not be empty", ProblemCode.REQUIRED))


def auxiliary_problem(
    what: str, name: str, model: AuxiliaryModel | None, models: AuxiliaryModels, family: str
) -> Problem | None:
    """A problem unless ``model``, which ``name`` was resolved to, can be used with models of ``family``."""
    if model is None:
        return unknown_name(what, name, models)
    if (broken := model.weights_problem()) is not None:
        return Problem(f"the {what} {model.name!r} cannot be used: {broken}", ProblemCode.UNAVAILABLE)
    if (fitting := model.fitting_family) not in (None, family):
        message = f"the {what} {model.name!r} is made for models of {fitting}, not of {family}"
        return Problem(message, ProblemCode.NOT_APPLICABLE)
    return None


def sampling_problem(name: str, steps: int, facts: FamilyFacts, *, img2img: bool) -> Problem | None:
    """A problem unless models of the family can use the sampler ``name`` with so many steps.

    Args:
        img2img: whether the sampler starts in the middle of the noise schedule.
    """
    if name not in SAMPLERS and name not in REFUSED:
        return unknown_name("sampler", name, SAMPLERS)
    message = sampler_problem(name, num_inference_steps=max(steps, 1), kind=facts.trained_on, img2img=img2img)
    return None if message is None else Problem(message, ProblemCode.UNAVAILABLE)


def check_sources(request: JobRequest, problems: Problems) -> None:
    """Note every source in ``request`` that cannot name what it is used as."""
    for field, source, role in sources_of(request):
        problems.note(field, source_problem(source, role))


def upscaler_name(name: str, catalog: Catalog) -> str:
    """The catalog's name for the upscaler ``name``: that of a built-in one or of its weights; else ``name`` itself."""
    known = find_known_upscaler(name)
    if known is not None and known.name in BUILT_IN_UPSCALERS:
        return known.name
    found = find_upscaler(name, catalog.upscalers)
    return name if found is None else found.name

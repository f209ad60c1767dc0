"""Validation errors of pydantic as problems of fields."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import islice
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, FailFast, model_validator
from pydantic_core import PydanticCustomError

from models.errors import FieldProblem, Problem, ProblemCode, shortened
from models.jobs.params import PROMPT_MAX_CHARS

PROBLEMS_MAX = 32
"""The most problems that one answer reports."""
TEXT_MAX_CHARS = 100_000
_PROMPT = "prompt"
"""Names that end like this are those of prompts."""
_MESSAGES = {
    "extra_forbidden": "there is no such field",
    "missing": "is required",
    "timezone_aware": "must have a time zone, as in 2026-01-31T12:00:00Z",
    "string_pattern_mismatch": "does not have the documented form",
    **dict.fromkeys(("model_type", "model_attributes_type", "dataclass_type", "dict_type"), "must be an object"),
}
"""By pydantic's type of error, instead of pydantic's own message, which names classes of Python or patterns."""
_SHOULD = re.compile(r"^[A-Z]\w+ should ")
_UNSAID = re.compile(r" after validation, not \d+$")
_BRANCH = re.compile(r"str|int|float|bool|[A-Z]\w*(?:Body|Config)")
"""The parts of pydantic's locations that name the branch of a union: a type, which clients do not know."""
_CODES: Mapping[str, ProblemCode] = {
    "extra_forbidden": ProblemCode.UNKNOWN_FIELD,
    "missing": ProblemCode.REQUIRED,
    "literal_error": ProblemCode.NOT_ALLOWED,
    "enum": ProblemCode.NOT_ALLOWED,
    **dict.fromkeys(
        ("greater_than", "greater_than_equal", "less_than", "less_than_equal", "finite_number"),
        ProblemCode.OUT_OF_RANGE,
    ),
    **dict.fromkeys(("string_too_long", "too_long"), ProblemCode.TOO_LONG),
    # Every minimum length of the bodies is 1, so that a value that is too short is empty.
    **dict.fromkeys(("string_too_short", "too_short"), ProblemCode.REQUIRED),
}
"""By pydantic's type of error; every other type means that the value has the wrong type or cannot be parsed."""


def _short(text: Any) -> Any:
    if isinstance(text, str) and len(text) > TEXT_MAX_CHARS:
        raise _too_long("", TEXT_MAX_CHARS)
    return text


def _short_prompt(text: Any) -> Any:
    if isinstance(text, str) and len(text) > TEXT_MAX_CHARS:
        raise _too_long("", PROMPT_MAX_CHARS)
    return text


def _too_long(name: str, most: int) -> PydanticCustomError:
    message = "{name}must have at most {max_length} characters"
    return PydanticCustomError("string_too_long", message, {"name": name, "max_length": most})


def short_text(name: str) -> Any:
    """The type of the field ``name``, which takes any text but an image.

    Prompts have a lower limit, which is checked with the job; the error for one that is too long for any field says it.
    """
    return Annotated[str, BeforeValidator(_short_prompt if name.endswith(_PROMPT) else _short)]


def require_short_texts(given: object, images: Collection[str]) -> None:
    """Raise an error of pydantic if a text of the object ``given`` is too long for any field.

    It is meant for validators of bodies, before anything searches the texts.

    Args:
        images: the names of the fields that may hold an image in Base64.
    """
    for name, value in given.items() if isinstance(given, dict) else ():
        if isinstance(value, str) and len(value) > TEXT_MAX_CHARS and name not in images:
            raise _too_long(f"{shortened(name)} ", PROMPT_MAX_CHARS if name.endswith(_PROMPT) else TEXT_MAX_CHARS)


class _FirstWrongItem(FailFast):
    __hash__ = object.__hash__  # unions of annotated types need it


FIRST_WRONG_ITEM = _FirstWrongItem()
"""For lists: pydantic stops at the first wrong item, instead of making an error for each."""


class StrictBody(BaseModel):
    """The base of bodies that refuse unknown fields.

    Pydantic makes an error for each unknown field before any of them can be read, so it only gets the first ones.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _first_unknown_fields(cls, given: Any) -> Any:
        known = cls.model_fields
        if not isinstance(given, dict) or len(given) <= len(known) + PROBLEMS_MAX:
            return given
        first = list(islice((name for name in given if name not in known), PROBLEMS_MAX))
        return {name: given[name] for name in (*first, *(name for name in known if name in given))}


def field_problems(errors: Iterable[Any], skip: int = 0) -> list[FieldProblem]:
    """The first :data:`PROBLEMS_MAX` of pydantic's ``errors`` as problems of fields.

    Args:
        errors: what ``ValidationError.errors()`` returns; the bounds are in its ``ctx``.
        skip: how many leading parts of each location name the part of the request, such as ``query``.
    """
    return [
        FieldProblem.of(shortened(_path(error["loc"][skip:])) or "body", _problem(error))
        for error in islice(errors, PROBLEMS_MAX)
    ]


def _problem(error: Any) -> Problem:
    context: Mapping[str, Any] = error.get("ctx") or {}
    code = _CODES.get(error["type"], ProblemCode.MALFORMED)
    low = next((context[name] for name in ("ge", "gt", "min_length") if name in context), None)
    high = next((context[name] for name in ("le", "lt", "max_length") if name in context), None)
    return Problem(_message(error, context), code, low, high)


def _message(error: Any, context: Mapping[str, Any]) -> str:
    if error["type"] == "value_error":  # pydantic puts words before the message of our own validators
        return str(context["error"])
    return _MESSAGES.get(error["type"]) or _UNSAID.sub("", _SHOULD.sub("must ", str(error["msg"])))


def _path(location: Sequence[int | str]) -> str:
    """As in ``params.controls[0].weight``."""
    named = (part for place, part in enumerate(location) if place == 0 or not _BRANCH.fullmatch(str(part)))
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in named).removeprefix(".")

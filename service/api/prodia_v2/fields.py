"""What every config has in common: how numbers are read, which keys nobody knows, what of it is told again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from models.errors import InvalidTicket
from service.api.errors import field_problems

_IMAGE_MAX_CHARS = 300
"""Longer texts in the place of an image's name are the image itself."""


def _integral(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole = Annotated[int | None, Field(strict=True), BeforeValidator(_integral)]
"""A whole number, or one like 20.0; no string, no boolean."""
Number = Annotated[float | None, Field(strict=True)]


class Config(BaseModel):
    """The ``config`` of a job; null is the same as absent. Keys that nobody knows are ignored, and told as warnings."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    image_keys: ClassVar[tuple[str, ...]] = ("image", "images", "mask", "controls")
    """Keys that may hold whole images."""

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> Self:
        """``config`` as this sort of config; raises :class:`InvalidTicket` if a value makes no sense."""
        try:
            return cls.model_validate(config)
        except ValidationError as error:
            found = error.errors(include_url=False, include_context=False, include_input=False)
            raise InvalidTicket(field_problems({**each, "loc": _place(each["loc"])} for each in found)) from error

    @classmethod
    def warnings(cls, config: Mapping[str, Any]) -> list[str]:
        """What to tell of the keys that are ignored."""
        unknown = (key for key in config if key not in cls.model_fields)
        return [f"config: {key[:100]!r} is not known here, and was ignored" for key in unknown]

    @classmethod
    def told(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """What of ``config`` is told again: the keys that are known and say something, without whole images."""
        known = {key: value for key, value in config.items() if key in cls.model_fields and value is not None}
        return {key: value for key, value in known.items() if key not in cls.image_keys or _is_short(value)}


def _place(location: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """``location`` without the names of the types that pydantic tried."""
    return tuple(
        part for part in location if isinstance(part, int) or not (part in ("str", "bool") or part[0].isupper())
    )


def _is_short(value: Any) -> bool:
    return len(str(value)) <= _IMAGE_MAX_CHARS

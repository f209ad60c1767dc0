"""What an agent job refuses, and the limits of the texts and values that it takes from people and models."""

from __future__ import annotations

import json
from typing import Any

from models.errors import PhotogramError, quoted

FILE_NAME_MAX_CHARS = 100


class PlanRefused(PhotogramError):
    """A plan, a change of it or a check breaks a rule; the message says which, so that a language model can mend it."""


class BriefRefused(PhotogramError):
    """Nothing can be made of a brief; the message says what can be asked for."""


def checked_line(value: Any, what: str, max_chars: int) -> str:
    """``value`` if it is a printable text of one line that says something.

    Raises:
        PlanRefused.
    """
    text = checked_text(value, what, max_chars)
    if not text.strip():
        raise PlanRefused(f"{what} must not be empty")
    if not text.isprintable():
        raise PlanRefused(f"{what} must be one line without control characters")
    return text


def checked_text(value: Any, what: str, max_chars: int) -> str:
    """``value`` if it is a text, of several lines or none.

    Raises:
        PlanRefused.
    """
    if not isinstance(value, str):
        raise PlanRefused(f"{what} must be a text")
    if len(value) > max_chars:
        raise PlanRefused(f"{what} must have at most {max_chars} characters, not {len(value)}")
    if not value.replace("\n", " ").replace("\t", " ").isprintable():
        raise PlanRefused(f"{what} must not have control characters")
    return value


def checked_file(value: Any, what: str) -> str:
    """``value`` if it is the relative path of a file in a workspace.

    Raises:
        PlanRefused.
    """
    name = checked_line(value, what, FILE_NAME_MAX_CHARS)
    parts = name.split("/")
    if "\\" in name or ":" in name or any(part.strip() in ("", ".", "..") for part in parts):
        raise PlanRefused(f"{what} must be a relative path such as 'panels/1.png', not {quoted(name)}")
    return name


def checked_json(value: Any, what: str, max_bytes: int) -> None:
    """Check that ``value`` can be written as JSON of at most ``max_bytes`` bytes.

    Raises:
        PlanRefused.
    """
    try:
        size = len(json.dumps(value, ensure_ascii=False, allow_nan=False).encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise PlanRefused(f"{what} cannot be written as JSON") from error
    if size > max_bytes:
        raise PlanRefused(f"{what} must have at most {max_bytes} bytes as JSON, not {size}")

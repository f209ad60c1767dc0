"""Names that nothing has: the problem that a request has with one, and the known names that come close to it."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from models.errors import Problem, ProblemCode, quoted

_LISTED_MAX = 12
_CLOSE_MAX = 3
_COMPARED_MAX_CHARS = 100
_COMPARED_MAX = 1000
"""A comparison takes some microseconds, and names come from requests: longer ones and further ones are not compared."""


def printable(text: str) -> str:
    """``text`` in one line that every terminal can show: names of files may have any bytes."""
    return "".join(each if each.isprintable() else "\ufffd" for each in text)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The known names that are nearly ``name``, in any case, as `` (did you mean 'Euler a'?)``; empty if none is."""
    if len(name) > _COMPARED_MAX_CHARS:
        return ""
    in_any_case = {each.casefold(): each for each in list(known)[:_COMPARED_MAX]}
    close = get_close_matches(name.strip().casefold(), list(in_any_case), n=_CLOSE_MAX, cutoff=0.7)
    return f" (did you mean {' or '.join(repr(in_any_case[each]) for each in close)}?)" if close else ""


def unknown_name(what: str, name: str, known: Iterable[str]) -> Problem:
    """The problem that there is no ``what`` called ``name``, with close names and the first few that there are."""
    names = list(known)
    if not names:
        return Problem(f"there is no {what} {quoted(name)}: the catalog has none", ProblemCode.UNKNOWN_NAME, allowed=())
    listed = tuple(names[:_LISTED_MAX])
    more = f" and {len(names) - _LISTED_MAX} more" if len(names) > _LISTED_MAX else ""
    message = f"there is no {what} {quoted(name)}{did_you_mean(name, names)}; there are: {', '.join(listed)}{more}"
    return Problem(message, ProblemCode.UNKNOWN_NAME, allowed=listed)

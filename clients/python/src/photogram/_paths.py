"""Ids as parts of paths."""

from urllib.parse import quote


def path_part(text: str, name: str) -> str:
    """The id `text` as one part of a path; raises ValueError if the path would be another one, as with `..`."""
    if text in ("", ".", ".."):
        raise ValueError(f"{text!r} is not the id of {name}")
    return quote(text, safe="")

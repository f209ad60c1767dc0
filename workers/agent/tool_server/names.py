"""The names of files in a workspace: relative POSIX paths, few folders deep, of characters that every system takes."""

from __future__ import annotations

import unicodedata

from models.errors import quoted
from workers.agent.tool_server.errors import Refused

NAME_MAX_CHARS = 100
FOLDERS_MAX = 4
_PART_MAX_BYTES = 255
_NOT_ALLOWED = frozenset('\\:*?"<>|')
"""Characters that other systems do not take or take for separators; the files leave in a zip archive."""
_INVISIBLE = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
"""Categories of Unicode: control characters, those that turn the direction of text around, and the unassigned."""


def check_name(name: str) -> tuple[str, ...]:
    """The parts of ``name``: its folders, and the file.

    Raises:
        Refused: no file in a workspace may have this name.
    """
    problem = _problem(name)
    if problem is not None:
        raise Refused(f"{quoted(name)} is not a valid file name: {problem}")
    return tuple(name.split("/"))


def is_valid_name(name: str) -> bool:
    """Whether a file or a folder in a workspace may have this name."""
    return _problem(name) is None


def _problem(name: str) -> str | None:
    if not 1 <= len(name) <= NAME_MAX_CHARS:
        return f"a name has 1 to {NAME_MAX_CHARS} characters"
    if name.startswith("/"):
        return "names are relative to the workspace, without / at the start"
    parts = name.split("/")
    if len(parts) > FOLDERS_MAX + 1:
        return f"a file lies at most {FOLDERS_MAX} folders deep"
    if any(unicodedata.category(char) in _INVISIBLE or char in _NOT_ALLOWED for char in name):
        return f"control characters and {' '.join(sorted(_NOT_ALLOWED))} are not allowed"
    return next(filter(None, map(_part_problem, parts)), None)


def _part_problem(part: str) -> str | None:
    if not part:
        return "a part of it is empty"
    if part.startswith("."):
        return "no part of it may begin with a dot"
    if part != part.strip() or part.endswith("."):
        return "no part of it may begin or end with a space, or end with a dot"
    if len(part.encode()) > _PART_MAX_BYTES:
        return f"each part of it has at most {_PART_MAX_BYTES} bytes"
    return None

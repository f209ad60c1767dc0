"""How tools name images: an image of the server, a URL, a data URL, or a file in a folder that a user has opened."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

PREFIXES = ("image:", "input:", "https://", "http://", "data:")
_NAMES = ("image", "mask")
"""The parameters of jobs that are images."""


class UnknownSource(ValueError):
    """What a tool was given names no image; the message says what would."""


class Sources:
    """Finds the images that tools are given.

    Args:
        folder: whose files may be sent; without it none may, whatever they are called.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = None if folder is None else folder.resolve()

    def find(self, given: str) -> str | Path:
        """What the client sends for ``given``.

        Raises:
            UnknownSource: it is none of the prefixes, and no file in the folder.
        """
        if given.lower().startswith(PREFIXES):
            return given
        found = self._file(given)
        if found is None:
            where = "" if self._folder is None else f", or a file in {self._folder}"
            raise UnknownSource(
                f"an image is named by one of {', '.join(PREFIXES)}{where}; upload it, or use the source that a tool "
                "has answered"
            )
        return found

    def named_in(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """``params`` with the images that they name as :meth:`find` finds them.

        Raises:
            UnknownSource: one is found nowhere.
        """
        return {
            name: self.find(value) if name in _NAMES and isinstance(value, str) else value
            for name, value in params.items()
        }

    def _file(self, given: str) -> Path | None:
        if self._folder is None:
            return None
        try:
            path = (self._folder / given).resolve()
            return path if path.is_relative_to(self._folder) and path.is_file() else None
        except (OSError, ValueError):  # a name that no file can have
            return None

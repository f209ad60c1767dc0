"""What the worker decides about a tool server: its folder and its limits; one JSON document on the command line."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

MIB = 1 << 20


@dataclass(frozen=True)
class FolderLimits:
    """How much a workspace may hold."""

    files: int = 500
    total_bytes: int = 256 * MIB
    file_bytes: int = 32 * MIB


@dataclass(frozen=True)
class ToolSettings:
    """The settings of one tool server."""

    workspace: str
    """The absolute path of an existing folder."""
    folder: FolderLimits = FolderLimits()
    allow_python: bool = False
    python_s: int = 20
    """How long one cell of Python may run."""
    memory_bytes: int = 2048 * MIB
    """Address space of the server; a cell of Python has half of it."""
    cpu_s: int = 3600
    """CPU time of the server over its whole life."""
    processes: int = 32
    """Processes and threads at the same time."""

    def to_json(self) -> str:
        """As :meth:`from_json` reads it."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> ToolSettings:
        """The settings in ``text``.

        Raises:
            ValueError: ``text`` is not such a document.
        """
        try:
            document = json.loads(text)
            return cls(**{**document, "folder": FolderLimits(**document.get("folder", {}))})
        except (TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"the settings are not valid: {error}") from error

"""The order of a deployment that is a process of its own, as the one who starts it writes it; without torch."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from models.deploy.shapes import Shape
from models.jobs.params import LoraUse

_PATHS = ("catalog", "packages", "cache")


@dataclass(frozen=True)
class Order:
    """What the process does; all paths are absolute."""

    model: str
    backend: str
    precision: str
    steps: int | None
    parts: tuple[str, ...]
    shapes: tuple[Shape, ...]
    loras: tuple[LoraUse, ...]
    """Those that are baked in."""
    is_forced: bool
    catalog: Path
    packages: Path
    cache: Path
    """The folder of what the server's own backend exports."""
    built_in: str
    """The setting ``backend`` of the server."""

    def to_line(self) -> bytes:
        """The order as one line of JSON."""
        return json.dumps(asdict(self), default=str).encode() + b"\n"

    @classmethod
    def read(cls, line: bytes) -> Self:
        """The order of :meth:`to_line`."""
        given = json.loads(line)
        given |= {"parts": tuple(given["parts"]), "shapes": tuple((width, height) for width, height in given["shapes"])}
        given["loras"] = tuple(LoraUse(**each) for each in given["loras"])
        return cls(**given | {name: Path(given[name]) for name in _PATHS})

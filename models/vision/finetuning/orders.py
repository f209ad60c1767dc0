"""The order of a training run that is a process of its own, as the one who starts it writes it; without torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from models.catalog.vision import VisionSpec
from models.vision.finetuning.options import Options

ARCHIVE, DATA = Path("data.zip"), Path("data")
"""Where the data set is in the working folder of the process: packed, or as a folder."""
_PATHS = ("folder", "file", "labels")
"""The fields of a :class:`VisionSpec` that are paths."""


@dataclass(frozen=True)
class Order:
    """What the process does in its working folder."""

    base: VisionSpec
    place: Path
    """Where the model is to be, relative to the working folder."""
    options: Options
    is_multi_label: bool | None
    """As in ``finetune``."""

    def to_line(self) -> bytes:
        """The order as one line of JSON."""
        return json.dumps(asdict(self), default=str).encode() + b"\n"

    @classmethod
    def read(cls, line: bytes) -> Self:
        """The order of :meth:`to_line`."""
        given = json.loads(line)
        return cls(_spec(given["base"]), Path(given["place"]), Options(**given["options"]), given["is_multi_label"])


def _spec(fields: Mapping[str, Any]) -> VisionSpec:
    paths = {name: Path(fields[name]) for name in _PATHS if fields[name] is not None}
    return VisionSpec(**{**fields, "aliases": tuple(fields["aliases"]), **paths})

"""What the engine reports of its rows."""

from __future__ import annotations

from dataclasses import dataclass

from PIL.Image import Image

from models.errors import JobFailure


@dataclass(frozen=True)
class Progressed:
    """A row took one more step."""

    row_id: str
    step: int
    """Steps taken so far, 1..``steps``."""
    steps: int
    """Steps in all: some samplers take more, or fewer, than they were asked for."""
    preview: Image | None
    """A rough look at the picture to come, if one was due; half as wide and high as the picture is drawn."""


@dataclass(frozen=True)
class Drawn:
    """A row became a picture and has left the engine."""

    row_id: str
    picture: Image
    """RGB, of the size asked for."""
    prepare_s: float
    """Spent on admission: loading the checkpoint if need be, encoding the prompt, drawing the noise."""
    denoise_s: float
    """From admission to the last step, the time in which others had the device included."""
    decode_s: float
    """Spent on decoding, together with the rows that left at the same tick."""


@dataclass(frozen=True)
class Failed:
    """A row failed and has left the engine."""

    row_id: str
    failure: JobFailure


Event = Progressed | Drawn | Failed

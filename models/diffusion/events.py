"""What the engine reports of its rows."""

from __future__ import annotations

from dataclasses import dataclass

from PIL.Image import Image

from models.errors import JobFailure


@dataclass(frozen=True)
class Loading:
    """A row waits for something to be loaded."""

    row_id: str
    name: str
    """What is loaded, in words."""


@dataclass(frozen=True)
class Progressed:
    """A row took one more step."""

    row_id: str
    step: int
    """Steps taken so far, 1..``steps``."""
    steps: int
    """Steps in all, as far as is known: some samplers take more, or fewer, than they were asked for."""
    preview: Image | None
    """A rough look at the image to come, if one was due."""


@dataclass(frozen=True)
class Drawn:
    """A row became an image and has left the engine."""

    row_id: str
    image: Image
    """RGB."""
    prepare_s: float
    """Spent before the first step: encoding prompts and images, drawing the noise; waiting for a load included."""
    denoise_s: float
    """From the first step of each piece of work to its last, the time in which others had the device included."""
    finish_s: float
    """Spent on decoding, together with the rows that were done at the same tick."""


@dataclass(frozen=True)
class Failed:
    """A row failed and has left the engine."""

    row_id: str
    failure: JobFailure


Event = Loading | Progressed | Drawn | Failed

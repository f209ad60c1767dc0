"""The events that the engine reports about its rows."""

from __future__ import annotations

from dataclasses import dataclass

from PIL.Image import Image

from models.diffusion.work import Result
from models.errors import JobFailure


@dataclass(frozen=True)
class Loading:
    """A row waits for a model that is being downloaded or loaded."""

    row_id: str
    name: str
    """The model's name, for people."""
    done_bytes: int | None = None
    """The bytes that are downloaded; ``None`` if it is being loaded from this machine."""
    total_bytes: int | None = None
    """The bytes of the whole download; ``None`` if unknown."""


@dataclass(frozen=True)
class Progressed:
    """A row took one step."""

    row_id: str
    step: int
    """The number of steps taken so far, from 1 to ``steps``."""
    steps: int
    """The number of steps known so far; a sampler may take more or fewer steps than the request says."""
    preview: Image | None
    """A rough image of the expected result, if a preview was due."""


@dataclass(frozen=True)
class Finished:
    """A row succeeded and has left the engine."""

    row_id: str
    result: Result
    """An RGB image, or what else the kind of job gives back."""
    prepare_s: float
    """Seconds of preparation: loading models, encoding prompts and images, drawing noise."""
    denoise_s: float
    """Seconds from the first to the last step of each piece of work, including the steps of other rows."""
    finish_s: float
    """Seconds of decoding, together with rows that took their last step at the same time."""
    backends: tuple[str, ...] = ()
    """What ran the denoisers of the row, each once, in the order of their use."""


@dataclass(frozen=True)
class Failed:
    """A row failed and has left the engine."""

    row_id: str
    failure: JobFailure


Event = Loading | Progressed | Finished | Failed

"""What a job gives back: images, a JSON document, files with media types, or several of these."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from PIL.Image import Image as PilImage

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"


@dataclass(frozen=True)
class FileOutput:
    """A file in the result of a job, before it is stored."""

    name: str
    """What clients may save it as, for example ``model.onnx``; folders before the name are dropped."""
    media_type: str
    """As in ``text/plain; charset=utf-8``."""
    data: bytes


@dataclass(frozen=True, kw_only=True)
class JobOutput:
    """What the plan or function of a job kind returns to the worker."""

    images: tuple[PilImage, ...] = ()
    """RGB."""
    document: Json = None
    files: tuple[FileOutput, ...] = ()


@dataclass(frozen=True)
class Image:
    """A generated image in the image store; sizes in pixels."""

    image_id: str
    width: int
    height: int
    size_bytes: int = 0
    """Of the PNG file; 0 in records of earlier versions."""


@dataclass(frozen=True)
class StoredFile:
    """A file in the file store that belongs to a job."""

    file_id: str
    name: str
    media_type: str
    size_bytes: int

"""Reads the images of examples, on several threads, and finds those that cannot be read."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from PIL.Image import Image

from models.errors import UnreadableImage
from models.media.images import decode
from models.vision.finetuning.examples import Example
from models.vision.model import shape_problem

FILE_MAX_BYTES = 1 << 28
_THREADS = min(8, os.cpu_count() or 1)
_T = TypeVar("_T")


@dataclass(frozen=True)
class Skipped:
    """An image that is left out."""

    file: Path
    reason: str


def read_image(file: Path) -> Image:
    """The image as RGB, upright.

    Raises:
        UnreadableImage: it is missing or broken, larger than 256 MiB, has too many pixels, or is much longer than wide.
    """
    try:
        if file.stat().st_size > FILE_MAX_BYTES:
            raise UnreadableImage(f"the file has more than {FILE_MAX_BYTES} bytes")
        image = decode(file.read_bytes())
    except OSError as error:
        raise UnreadableImage(f"the file cannot be read: {error.strerror or error}") from error
    problem = shape_problem(image)
    if problem is not None:
        raise UnreadableImage(problem)
    return image


def problems(examples: Sequence[Example]) -> Iterator[Skipped | None]:
    """For each example, why its image cannot be used; ``None`` if it can."""
    return in_threads(_problem, examples)


def in_threads(work: Callable[[Example], _T], examples: Sequence[Example]) -> Iterator[_T]:
    """What ``work`` makes of each example, in their order, with few of them in memory at a time."""
    with ThreadPoolExecutor(_THREADS) as threads:
        for start in range(0, len(examples), 8 * _THREADS):
            yield from threads.map(work, examples[start : start + 8 * _THREADS])


def _problem(example: Example) -> Skipped | None:
    try:
        read_image(example.file)
    except UnreadableImage as error:
        return Skipped(example.file, str(error))
    return None

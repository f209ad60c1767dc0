"""What a job costs, estimated before any work is done, and the limits that each estimate is held to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TypeAlias

from models.errors import FieldProblem, Problem, ProblemCode

Size: TypeAlias = tuple[int, int]
"""Width and height in pixels; of an archive, the number of its files, and 1."""
Sizes: TypeAlias = Mapping[str, Size]
"""The sizes of images and archives by source; those at URLs are known to workers alone."""

_DECODED_BYTES = 4
"""Pillow keeps an RGB pixel in four bytes."""
_MADE_BYTES = 12
"""For each pixel of a result: the image, what it is made from, and its file, which may be hardly smaller."""
_TEXTS = {
    "source_px": "the images that the job starts from have {} pixels together",
    "output_px": "the result would have {} pixels",
    "step_px": "the request would draw {} pixels, counted once for each step of each of its images",
    "peak_bytes": "the images of the job would take {} bytes of memory",
}


@dataclass(frozen=True, kw_only=True)
class Cost:
    """The estimated cost of one job, or of a series of jobs that one request asks for."""

    source_px: int = 0
    """The pixels of all images that one job starts from, as far as their sizes are known."""
    output_px: int = 0
    """The pixels of the largest image that is made."""
    step_px: int = 0
    """Pixels times steps, of all images of the request; enlarging an image counts its result once."""
    peak_bytes: int = 0
    """The memory for the images of one job at its peak, without models and their activations."""
    source_field: str = "image"
    """The field of the request that a problem with ``source_px`` names."""
    size_field: str = "kind"
    """The field that decides ``output_px``."""
    steps_field: str = "kind"
    """The field that decides ``step_px``."""
    peak_field: str | None = None
    """The field that decides ``peak_bytes``; ``None`` if it is ``size_field``."""

    def times(self, count: int) -> Cost:
        """The cost of ``count`` such jobs, which run one after the other."""
        return replace(self, step_px=self.step_px * count)

    def plus(self, other: Cost) -> Cost:
        """The cost of both; the field of the larger part is kept."""
        larger, smaller = (self, other) if self.output_px >= other.output_px else (other, self)
        return replace(
            larger,
            source_px=max(self.source_px, other.source_px),
            step_px=larger.step_px + smaller.step_px,
            peak_bytes=max(self.peak_bytes, other.peak_bytes),
        )


@dataclass(frozen=True, kw_only=True)
class CostLimits:
    """The highest cost that is accepted, in the measures of :class:`Cost`; ``None`` sets no limit."""

    source_px: int | None = None
    output_px: int | None = None
    step_px: int | None = None
    peak_bytes: int | None = None

    def and_also(self, other: CostLimits) -> CostLimits:
        """The stricter limit of both for each measure."""
        mine, others = asdict(self), asdict(other)
        return CostLimits(**{name: _stricter(limit, others[name]) for name, limit in mine.items()})

    def problems(self, cost: Cost) -> Iterator[FieldProblem]:
        """What of ``cost`` is above its limit, with the number and the limit; the field is the one that decides it."""
        fields = {
            "source_px": cost.source_field,
            "step_px": cost.steps_field,
            "peak_bytes": cost.peak_field or cost.size_field,
        }
        for measure, limit in asdict(self).items():
            found = getattr(cost, measure)
            if limit is not None and found > limit:
                message = f"{_TEXTS[measure].format(found)}; at most {limit} are allowed"
                problem = Problem(message, ProblemCode.TOO_COSTLY, high=limit)
                yield FieldProblem.of(fields.get(measure, cost.size_field), problem)


NO_LIMITS = CostLimits()
CPU_LIMITS = CostLimits(source_px=100_000_000, output_px=1 << 26, step_px=1 << 31, peak_bytes=1 << 30)
"""Results of 8192 x 8192 pixels; 13 images of 1024 x 1024 pixels with the most steps that a model allows by default."""
GPU_LIMITS = CostLimits(source_px=100_000_000, output_px=1 << 27, step_px=1 << 34, peak_bytes=1 << 31)
"""Twice the results, and eight times the work."""


def area(size: Size) -> int:
    """The number of pixels."""
    return size[0] * size[1]


def images_bytes(source_px: int, output_px: int) -> int:
    """The memory in bytes for the decoded images that a job starts from, and for making its result."""
    return source_px * _DECODED_BYTES + output_px * _MADE_BYTES


def _stricter(one: int | None, other: int | None) -> int | None:
    limits = [limit for limit in (one, other) if limit is not None]
    return min(limits, default=None)

"""Proof: how far exported parts and the images drawn with them are from torch, and whether that is near enough."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import inf, isfinite, log10
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from photogram_runtime.graphs import Array, Graph
from PIL.Image import Image

from models.deploy.exporting import in_numpy
from models.deploy.recording import Call


@dataclass(frozen=True)
class Threshold:
    """What a precision must reach."""

    relative: float
    """The largest relative error of a part over all recorded calls."""
    psnr_db: float
    """The lowest PSNR of an image."""
    score_drop: float
    """How much less the images may fit their prompts on average, as the built-in vision model scores them."""


THRESHOLDS: Mapping[str, Threshold] = MappingProxyType({
    "f32": Threshold(1e-3, 50.0, 0.005),
    "fp16": Threshold(5e-3, 35.0, 0.01),
    "bf16": Threshold(6e-2, 25.0, 0.02),
    "int8": Threshold(0.2, 18.0, 0.03),
    "fp8": Threshold(0.2, 18.0, 0.03),
    "w4": Threshold(0.3, 15.0, 0.05),
})  # fmt: skip
"""By precision. The fewer the bits, the more an image may differ from that of torch while it shows the same."""


@dataclass(frozen=True)
class PartDifference:
    """The difference of a part's outputs from torch's, over all recorded calls."""

    max_abs: float
    mean_abs: float
    relative: float
    """The norm of all differences, divided by the norm of torch's outputs."""
    calls: int

    @classmethod
    def of(cls, graph: Graph, calls: Sequence[Call]) -> PartDifference:
        """Run ``graph`` with the inputs of ``calls``."""
        largest, total, count, square, norm = 0.0, 0.0, 0, 0.0, 0.0
        for call in calls:
            for expected, found in zip(_floats(in_numpy(call.outputs).values()), _floats(graph(in_numpy(call.inputs))),
                                       strict=True):  # fmt: skip
                off = np.abs(found - expected)
                largest = max(largest, float(off.max())) if np.isfinite(off).all() else inf
                total, count = total + float(off.sum()), count + off.size
                square, norm = square + float((off**2).sum()), norm + float((expected**2).sum())
        return cls(largest, total / max(1, count), (square / norm) ** 0.5 if norm else square**0.5, len(calls))


def _floats(arrays: Any) -> Iterator[Array]:
    for each in arrays:
        yield np.asarray(each, np.float64)


@dataclass(frozen=True)
class ImageDifference:
    """The difference of one image from that of torch."""

    title: str
    psnr_db: float
    ssim: float
    score: float | None
    """How well it fits its prompt, as the built-in vision model sees it; ``None`` if it cannot see."""
    score_of_torch: float | None


@dataclass(frozen=True)
class Verdict:
    """What the checks found."""

    parts: Mapping[str, PartDifference]
    images: Sequence[ImageDifference]
    failures: Sequence[str]
    """What did not pass, as sentences."""

    @property
    def psnr_db(self) -> float:
        """The lowest of all images."""
        return min((each.psnr_db for each in self.images), default=inf)

    def document(self) -> dict[str, Any]:
        """As ``deploy.json`` has it; an image that is equal has no PSNR."""
        images = [
            {**asdict(each), "psnr_db": None if each.psnr_db == inf else round(each.psnr_db, 2)} for each in self.images
        ]
        return {
            "passed": not self.failures, "forced": False, "failures": list(self.failures),
            "parts": parts_document(self.parts), "images": images,
            "lowest_psnr_db": None if self.psnr_db == inf else round(self.psnr_db, 2),
        }  # fmt: skip


def judge(precision: str, parts: Mapping[str, PartDifference], images: Sequence[ImageDifference]) -> Verdict:
    """Compare the errors with the thresholds of ``precision``; what is no number does not pass."""
    bound = THRESHOLDS[precision]
    failures = judge_parts(precision, parts)
    failures += [
        f"{each.title}: its image has a PSNR of {each.psnr_db:.1f} dB, less than {bound.psnr_db:g}"
        for each in images
        if not each.psnr_db >= bound.psnr_db
    ]
    drop = score_drop(images)
    if drop is not None and not drop <= bound.score_drop:
        failures.append(f"the images fit their prompts by {drop:.3f} less, more than {bound.score_drop:g}")
    return Verdict(parts, images, failures)


def judge_parts(precision: str, parts: Mapping[str, PartDifference]) -> list[str]:
    """The parts whose error is above the threshold of ``precision``, as sentences."""
    most = THRESHOLDS[precision].relative
    return [
        f"{name}: its outputs differ from torch's by {each.relative:.2g}, more than {most:g}"
        for name, each in parts.items()
        if not each.relative <= most
    ]


def parts_document(parts: Mapping[str, PartDifference]) -> dict[str, Any]:
    """``parts`` as ``deploy.json`` has them: JSON has no infinities, so that what is not finite is ``None``."""
    return {
        name: {key: value if isfinite(value) else None for key, value in asdict(each).items()}
        for name, each in parts.items()
    }


def score_drop(images: Sequence[ImageDifference]) -> float | None:
    """How much less the images fit their prompts than those of torch, on average."""
    drops = [
        each.score_of_torch - each.score
        for each in images
        if each.score is not None and each.score_of_torch is not None
    ]
    return sum(drops) / len(drops) if drops else None


def psnr_db(expected: Image, found: Image) -> float:
    """The peak signal-to-noise ratio of two RGB images of one size; infinite if they are equal."""
    square = float(((_pixels(expected) - _pixels(found)) ** 2).mean())
    return 10 * log10(255**2 / square) if square else inf


def ssim(expected: Image, found: Image) -> float:
    """The mean structural similarity of two RGB images (Wang et al. 2004), with a uniform window of 7 pixels."""
    first, second = (_planes(each) for each in (expected, found))

    def mean(values: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.avg_pool2d(values, 7, stride=1)

    mean_1, mean_2 = mean(first), mean(second)
    variance_1, variance_2 = mean(first**2) - mean_1**2, mean(second**2) - mean_2**2
    covariance = mean(first * second) - mean_1 * mean_2
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    ratio = (2 * mean_1 * mean_2 + c1) * (2 * covariance + c2)
    return float((ratio / ((mean_1**2 + mean_2**2 + c1) * (variance_1 + variance_2 + c2))).mean())


def _planes(image: Image) -> torch.Tensor:
    return torch.from_numpy(_pixels(image)).permute(2, 0, 1)[None]


def _pixels(image: Image) -> Array:
    return np.asarray(image.convert("RGB"), np.float64)

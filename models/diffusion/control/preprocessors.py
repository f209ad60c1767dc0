"""Running preprocessors: each is found by name, and its thresholds and weights are checked first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from models.catalog.preprocessors import Preprocessor, Threshold, find_preprocessor
from models.diffusion.control import estimators, filters
from models.diffusion.control.filters import Pixels
from models.errors import DrawingFailed, ModelUnavailable


@dataclass(frozen=True)
class _Settings:
    """The settings of a preprocessor, each of which uses only some of them."""

    threshold_a: float
    threshold_b: float
    seed: int
    folder: Path
    """The folder of the weights, for preprocessors that have some."""


_RUN: Mapping[str, Callable[[Pixels, _Settings], Pixels]] = {
    "none": lambda pixels, _: pixels,
    "canny": lambda pixels, given: filters.canny(pixels, given.threshold_a, given.threshold_b),
    "color": lambda pixels, _: filters.color(pixels),
    "invert": lambda pixels, _: filters.invert(pixels),
    "lineart_standard": lambda pixels, _: filters.lineart_standard(pixels),
    "scribble_xdog": lambda pixels, given: filters.scribble_xdog(pixels, given.threshold_a),
    "shuffle": lambda pixels, given: filters.shuffle(pixels, given.seed),
    "threshold": lambda pixels, given: filters.threshold(pixels, given.threshold_a),
    "tile_resample": lambda pixels, given: filters.tile_resample(pixels, given.threshold_a),
    "depth": lambda pixels, given: estimators.depth(pixels, given.folder),
    "depth_zoe": lambda pixels, given: estimators.depth(pixels, given.folder),
    "normal_map": lambda pixels, given: estimators.normal_map(pixels, given.folder, given.threshold_a),
    "segmentation": lambda pixels, given: estimators.segmentation(pixels, given.folder),
}
"""The function of each preprocessor that can be run."""


def preprocess(
    name: str,
    image: Image.Image,
    *,
    size: tuple[int, int],
    threshold_a: float | None = None,
    threshold_b: float | None = None,
    seed: int,
    weights: Mapping[str, Path],
) -> Image.Image:
    """Make the condition image, RGB, from ``image``.

    Args:
        name: one of ``models.catalog.preprocessors.PREPROCESSORS``.
        image: resized to ``size`` first.
        size: width and height in pixels at which the preprocessor works.
        threshold_a: its meaning depends on the preprocessor; ``None`` is the default.
        threshold_b: as ``threshold_a``.
        seed: the job's seed, for ``shuffle``.
        weights: transformers folders by ``Preprocessor.weights``.

    Raises:
        DrawingFailed: the preprocessor is unknown or not available, or a threshold is out of its range.
        ModelUnavailable: the weights are missing or cannot be read.
        OutOfMemory: the weights do not fit into memory.
    """
    known = find_preprocessor(name)
    if known is None:
        raise DrawingFailed(f"there is no preprocessor {name!r}")
    if known.refusal is not None:
        raise DrawingFailed(f"preprocessor {name!r} cannot be run: {known.refusal}")
    settings = _Settings(
        _checked(known, "threshold_a", known.threshold_a, threshold_a),
        _checked(known, "threshold_b", known.threshold_b, threshold_b),
        seed,
        _folder(known, weights),
    )
    pixels = np.asarray(image.convert("RGB").resize(size, Image.Resampling.LANCZOS))
    return Image.fromarray(_RUN[name](pixels, settings))


def _checked(known: Preprocessor, field: str, threshold: Threshold | None, value: float | None) -> float:
    if threshold is None:
        return 0.0
    if value is None:
        return threshold.default
    if not threshold.low <= value <= threshold.high:
        bounds = f"from {threshold.low:g} to {threshold.high:g}"
        raise DrawingFailed(f"preprocessor {known.name!r}: {field} ({threshold.meaning}) must be {bounds}")
    return value


def _folder(known: Preprocessor, weights: Mapping[str, Path]) -> Path:
    if known.weights is None:
        return Path()
    if known.weights not in weights:
        advice = f"add a transformers folder with such a model to [preprocessors] in the catalog as {known.weights!r}"
        raise ModelUnavailable(f"preprocessor {known.name!r} needs weights ({known.description}): {advice}")
    return weights[known.weights]

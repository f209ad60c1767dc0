"""Seeing with a deployed vision model: its preprocessing, which is timm's for evaluation, and what is read of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from photogram_runtime.arguments import whole
from photogram_runtime.components import Component, section
from photogram_runtime.errors import ComputationFailed, InvalidRequest, PackageDamaged, PackageUnsupported
from photogram_runtime.package import MANIFEST, Package
from photogram_runtime.schedules import Floats

VISION = "vision"
"""The section of ``deploy.json``."""
ASPECT_MAX = 50
"""How many times the shorter side of an image the longer one may be."""
CLASSES_MAX = 100_000
_LOGITS, _POOLED, _EMBEDDING = "logits", "pooled", "embedding"
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")
_INTERPOLATIONS: Mapping[str, Image.Resampling] = MappingProxyType(
    {each.name.lower(): each for each in Image.Resampling}
)
_TINY = 1e-12


@dataclass(frozen=True)
class Label:
    """One class that an image may show."""

    name: str
    """As the weights' own list has it: for ImageNet, the id of the synset."""
    text: str
    """For people."""
    index: int
    """The place of the class in the model's outputs."""
    probability: float
    """From 0 to 1; the probabilities of all classes add up to 1, unless the model's classes are independent."""


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes the model's input."""

    size: tuple[int, int]
    """Height and width of the input."""
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: Image.Resampling
    crop_pct: float
    """The share of the resized image that is kept."""
    crop_mode: str
    """``center``, ``squash`` or ``border``."""

    def __call__(self, image: Image.Image) -> Floats:
        """The input [1, 3, height, width] for an RGB image: timm's ``transforms_imagenet_eval``."""
        pixels = np.asarray(self._cropped(self._resized(image)), np.float32).transpose(2, 0, 1) / np.float32(255)
        mean, std = (np.array(each, np.float32)[:, None, None] for each in (self.mean, self.std))
        return ((pixels - mean) / std)[None]

    def _resized(self, image: Image.Image) -> Image.Image:
        height, width = (math.floor(side / self.crop_pct) for side in self.size)
        ratios = image.height / height, image.width / width
        if self.crop_mode == "squash":
            size = width, height
        elif self.crop_mode == "border":
            size = _scaled(image, max(ratios))
        elif height == width:
            longer = int(height * max(image.size) / min(image.size))
            size = (height, longer) if image.width <= image.height else (longer, height)
        else:
            size = _scaled(image, min(ratios))
        return image.resize(size, self.interpolation)

    def _cropped(self, image: Image.Image) -> Image.Image:
        """The middle of ``image``, with a border where it is smaller than the input."""
        height, width = self.size
        short = max(width - image.width, 0), max(height - image.height, 0)
        if any(short):
            fill = tuple(round(255 * each) for each in self.mean) if self.crop_mode == "border" else 0
            border = short[0] // 2, short[1] // 2, (short[0] + 1) // 2, (short[1] + 1) // 2
            image = ImageOps.expand(image, border, fill)
        left, top = round((image.width - width) / 2), round((image.height - height) / 2)
        return image.crop((left, top, left + width, top + height))


def _scaled(image: Image.Image, divisor: float) -> tuple[int, int]:
    return round(image.width / divisor), round(image.height / divisor)


def read_preprocessing(written: Mapping[str, Any]) -> Preprocessing:
    """The preprocessing of the section :data:`VISION`.

    Raises:
        PackageUnsupported: it has an interpolation or a way to crop that is unknown here.
        KeyError, TypeError, ValueError: it is not what a package has.
    """
    channels, height, width = (int(each) for each in written["input_size"])
    mean, std = (tuple(float(each) for each in written[name]) for name in ("mean", "std"))
    crop_pct = float(written["crop_pct"])
    if not (channels == len(mean) == len(std) == 3 and min(height, width) > 0 and 0.01 <= crop_pct <= 100 and all(std)):
        raise ValueError("impossible values")
    interpolation, crop_mode = written["interpolation"], written["crop_mode"]
    if interpolation not in _INTERPOLATIONS or crop_mode not in ("center", "squash", "border"):
        raise PackageUnsupported(f"photogram-runtime cannot prepare images by {interpolation!r} and {crop_mode!r}")
    return Preprocessing((height, width), mean, std, _INTERPOLATIONS[interpolation], crop_pct, crop_mode)


class Viewer:
    """Sees with the graph of one package; may be used by several threads.

    Args:
        threads: that the runtime of the graph uses; by default all cores.
        cache: a folder that keeps compiled graphs, if the runtime can.

    Raises:
        PackageUnsupported, PackageDamaged: the package cannot be seen with.
    """

    def __init__(self, package: Package, threads: int | None, cache: Path | None = None) -> None:
        written = section(package.manifest, VISION)
        try:
            self._prepare = read_preprocessing(written)
            self._labels: Sequence[tuple[str, str]] = [(str(name), str(text)) for name, text in written["labels"]]
            self._is_independent = bool(written["multi_label"])
        except (KeyError, TypeError, ValueError) as error:
            raise PackageDamaged(f"{MANIFEST} is not that of a package: its section {VISION} is wrong") from error
        self._model = Component(package, "model", {"pixels": 4}, threads=threads, cache=cache)

    def classify(self, image: Image.Image, top: int) -> list[Label]:
        """See :meth:`photogram_runtime.Deployed.classify`."""
        count = whole(top, "top", 1, CLASSES_MAX)
        if not self._model.gives(_LOGITS) or not self._labels:
            raise InvalidRequest("this model has no classifier; it embeds")
        logits = self._seen(image, _LOGITS).astype(np.float64)
        if len(logits) != len(self._labels):
            raise ComputationFailed(f"the model gave {len(logits)} classes and has {len(self._labels)} labels")
        if self._is_independent:
            probabilities = 1 / (1 + np.exp(-logits.clip(-500)))
        else:
            shares = np.exp(logits - logits.max())
            probabilities = shares / shares.sum()
        best = np.argsort(-probabilities, kind="stable")[:count].tolist()
        return [self._label(index, float(probabilities[index])) for index in best]

    def _label(self, index: int, probability: float) -> Label:
        name, text = self._labels[index]
        return Label(name, text, index, probability)

    def embed(self, image: Image.Image) -> Floats:
        """See :meth:`photogram_runtime.Deployed.embed`."""
        vector = self._seen(image, _EMBEDDING if self._model.gives(_EMBEDDING) else _POOLED)
        return np.asarray(vector / max(float(np.linalg.norm(vector)), _TINY), np.float32)

    def _seen(self, image: Image.Image, output: str) -> Floats:
        """An output for one image, without its first axis."""
        if not self._model.gives(output):
            raise InvalidRequest(f"this package was made without {output}")
        found = self._model.run({"pixels": self._prepare(in_rgb(image))}, output)
        return found.reshape(-1)


def in_rgb(image: Image.Image) -> Image.Image:
    """``image`` as the service reads it: RGB, upright by its EXIF orientation, on white where it is transparent.

    Raises:
        InvalidRequest: it is no image of Pillow, has no pixels or a mode without a plain conversion, cannot be decoded,
            or is more than :data:`ASPECT_MAX` times as long as wide.
    """
    if not isinstance(image, Image.Image):
        raise InvalidRequest(f"image must be an image of Pillow, not a value of the type {type(image).__name__}")
    if image.mode not in _MODES:
        raise InvalidRequest(f"image has the mode {image.mode}; convert it to RGB first")
    short, long = sorted(image.size)
    if not 0 < long <= ASPECT_MAX * short:
        raise InvalidRequest(f"image has {image.width} x {image.height} pixels, and must not be empty or longer than "
                             f"{ASPECT_MAX} times its width")  # fmt: skip
    try:
        upright = ImageOps.exif_transpose(image)
        if upright.has_transparency_data:
            layer = upright.convert("RGBA")
            upright = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
        return upright.convert("RGB")
    except Exception as error:  # damaged bytes can make Pillow raise anything
        raise InvalidRequest(f"image cannot be decoded: {str(error)[:200]}") from error

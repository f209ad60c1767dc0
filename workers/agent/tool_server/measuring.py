"""What can be measured of an image: its size, colours, the ground it stands on, light, sharpness and likeness."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops

from models.agent.colours import name_of
from models.media.images import FORMATS
from workers.agent.tool_server.folder import Folder
from workers.agent.tool_server.images import decoded, flattened

Floats = npt.NDArray[np.float64]
Bytes = npt.NDArray[np.uint8]
_COLOURS_SIDE_PX, _LIGHT_SIDE_PX = 256, 512
_COLOURS, _SAMPLES = 5, 12
_SHARE_MIN = 0.02
_ALIKE = 40
"""Colours that differ by less in each channel are told as one."""
_GROUND_ALIKE = 24
_EDGE_SHARE = 0.02
_OPAQUE = 128
_TRANSPARENT = "#00000000"
_WHITE = (255, 255, 255, 255)
_HASH_SIDE_PX, _HASH_SIDE = 32, 8
_LUMA = np.array([0.299, 0.587, 0.114])


def measure(folder: Folder, name: str) -> dict[str, Any]:
    """The measures of an image.

    Raises:
        Refused: it cannot be read.
    """
    data = folder.read(name)
    image = decoded(data, name)
    file_format, frames = _format(data)
    luma = _luma(image)
    return {
        "width": image.width, "height": image.height, "format": file_format, "frames": frames,
        "transparent": image.mode == "RGBA", "colours": _colours(image), "ground": _ground(image),
        "brightness": round(float(luma.mean()) / 255, 3), "contrast": round(float(luma.std()) / 255, 3),
        "sharpness": round(_sharpness(luma), 1), "hash": f"{_hash(image):016x}",
    }  # fmt: skip


def compare(folder: Folder, first: str, second: str) -> dict[str, Any]:
    """How much two images differ.

    Raises:
        Refused: one of them cannot be read.
    """
    one, other = (decoded(folder.read(name), name) for name in (first, second))
    same_size = one.size == other.size
    seen, compared = flattened(one, _WHITE), flattened(other, _WHITE)
    if not same_size:
        compared = compared.resize(one.size, Image.Resampling.LANCZOS)
    histogram = ImageChops.difference(seen, compared).histogram()
    difference = sum(count * (index % 256) for index, count in enumerate(histogram)) / (3 * one.width * one.height)
    return {
        "equal": same_size and one.convert("RGBA").tobytes() == other.convert("RGBA").tobytes(),
        "same_size": same_size, "mean_difference": round(difference, 3),
        "hash_distance": (_hash(one) ^ _hash(other)).bit_count(),
    }  # fmt: skip


def _format(data: bytes) -> tuple[str | None, int]:
    """The format, and the number of frames."""
    with Image.open(BytesIO(data), formats=FORMATS) as header:
        try:
            return header.format, getattr(header, "n_frames", 1)
        except Exception:  # damage behind the first frame can make Pillow raise anything
            return header.format, 1


def _colours(image: Image.Image) -> list[dict[str, Any]]:
    """The colours that the opaque part of an image has most of."""
    pixels, _ = _pixels(_reduced(image, _COLOURS_SIDE_PX))
    if not len(pixels):
        return []
    palette = Image.fromarray(pixels[None]).quantize(_SAMPLES, Image.Quantize.MEDIANCUT)
    levels = np.array(palette.getpalette(), dtype=np.float64).reshape(-1, 3)
    counts = np.bincount(np.asarray(palette).ravel(), minlength=len(levels))
    merged: list[tuple[Floats, int]] = []
    for index in np.argsort(-counts, kind="stable"):
        place = next((n for n, (level, _) in enumerate(merged) if np.abs(level - levels[index]).max() < _ALIKE), None)
        if place is None:
            merged.append((levels[index], int(counts[index])))
        else:
            merged[place] = (merged[place][0], merged[place][1] + int(counts[index]))
    merged.sort(key=lambda each: -each[1])
    found = [_told(level, count / len(pixels)) for level, count in merged[:_COLOURS]]
    return [each for each in found if each["share"] >= _SHARE_MIN]


def _ground(image: Image.Image) -> dict[str, Any]:
    """The colour of the edge of an image, and how much of the edge has it."""
    reduced = _reduced(image, _LIGHT_SIDE_PX)
    width = max(1, round(min(reduced.size) * _EDGE_SHARE))
    is_edge = np.ones((reduced.height, reduced.width), dtype=bool)
    is_edge[width:-width, width:-width] = False
    pixels, is_opaque = _pixels(reduced, is_edge)
    share_opaque = float(is_opaque.mean())
    if share_opaque < 0.5:
        return {"hex": _TRANSPARENT, "name": "transparent", "share": round(1 - share_opaque, 3)}
    bins = (pixels >> 5).astype(np.int64) @ np.array([64, 8, 1])
    often = pixels[bins == np.bincount(bins).argmax()]
    level = np.median(often, axis=0)
    has_it = np.abs(pixels.astype(np.float64) - level).max(axis=1) <= _GROUND_ALIKE
    return _told(level, float(has_it.mean()) * share_opaque)


def _told(level: Floats, share: float) -> dict[str, Any]:
    red, green, blue = (round(float(each)) for each in level)
    return {"hex": f"#{red:02x}{green:02x}{blue:02x}", "name": name_of(red, green, blue), "share": round(share, 3)}


def _pixels(image: Image.Image, wanted: npt.NDArray[np.bool_] | None = None) -> tuple[Bytes, npt.NDArray[np.bool_]]:
    """The opaque ones of the wanted pixels as rows of RGB, and which of the wanted ones those are."""
    levels = np.asarray(image.convert("RGBA"))
    chosen = levels.reshape(-1, 4) if wanted is None else levels[wanted]
    is_opaque = chosen[:, 3] >= _OPAQUE
    return np.ascontiguousarray(chosen[is_opaque, :3]), is_opaque


def _reduced(image: Image.Image, side_px: int) -> Image.Image:
    smaller = image.copy()
    smaller.thumbnail((side_px, side_px), Image.Resampling.BOX)
    return smaller


def _luma(image: Image.Image) -> Floats:
    levels = np.asarray(_reduced(flattened(image, _WHITE), _LIGHT_SIDE_PX), dtype=np.float64)
    luma: Floats = levels @ _LUMA
    return luma


def _sharpness(luma: Floats) -> float:
    """The variance of the Laplacian (Pech-Pacheco et al., 2000)."""
    if min(luma.shape) < 3:
        return 0.0
    middle = luma[1:-1, 1:-1]
    laplacian = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:] - 4 * middle
    return float(laplacian.var())


def _hash(image: Image.Image) -> int:
    """The perceptual hash: the signs of the lowest frequencies against their median (pHash, Zauner, 2010)."""
    side = _HASH_SIDE_PX
    small = flattened(image, _WHITE).convert("L").resize((side, side), Image.Resampling.LANCZOS)
    steps = np.arange(side)
    cosines = np.cos(np.pi * (2 * steps[None] + 1) * steps[:_HASH_SIDE, None] / (2 * side))
    waves = np.round(cosines @ np.asarray(small, dtype=np.float64) @ cosines.T, 3)
    bits = waves.ravel() > np.median(waves.ravel()[1:])
    return int("".join("1" if bit else "0" for bit in bits), 2)

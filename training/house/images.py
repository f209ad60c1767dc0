"""The training images: Noto Emoji icons rendered, recoloured, and placed on coloured grounds."""

from __future__ import annotations

import colorsys
import json
import random
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from models.catalog.concepts import Concept

SIZE_PX = 128
MARGIN_PX = 6

GROUNDS = {"red": (214, 40, 40), "orange": (245, 140, 40), "yellow": (252, 220, 70), "green": (70, 170, 80),
           "teal": (0, 140, 140), "blue": (50, 110, 215), "light blue": (150, 205, 250), "purple": (130, 70, 180),
           "pink": (250, 170, 200), "brown": (125, 80, 50), "gray": (150, 150, 150),
           "black": (20, 20, 24)}  # fmt: skip
# name: hue in degrees, factor and offset of saturation, factor and offset of value
COLOURS = {"red": (2, 0.5, 0.5, 0.9, 0.0), "orange": (28, 0.4, 0.6, 0.7, 0.3), "yellow": (50, 0.4, 0.5, 0.5, 0.5),
           "green": (118, 0.5, 0.35, 0.75, 0.05), "blue": (215, 0.5, 0.45, 0.9, 0.05),
           "purple": (275, 0.5, 0.35, 0.8, 0.0), "pink": (335, 0.3, 0.25, 0.4, 0.6),
           "brown": (24, 0.3, 0.45, 0.55, 0.0),
           "black": (0, 0.05, 0.0, 0.28, 0.0), "white": (0, 0.05, 0.0, 0.2, 0.8),
           "gray": (0, 0.05, 0.0, 0.6, 0.1)}  # fmt: skip

PixelArray = npt.NDArray[np.float32]


def render(icons_json: Path, concepts: list[Concept]) -> dict[str, PixelArray]:
    """Render each concept's icon from an Iconify ``icons.json`` to float RGBA [128, 128, 4] in 0..1."""
    import resvg_py

    icons = json.loads(icons_json.read_text(encoding="utf-8"))
    inner = SIZE_PX - 2 * MARGIN_PX
    rendered: dict[str, PixelArray] = {}
    for concept in concepts:
        svg = (
            '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'viewBox="0 0 {icons["width"]} {icons["height"]}">{_body(icons, concept.icon)}</svg>'
        )
        png = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=inner, height=inner))
        canvas = Image.new("RGBA", (SIZE_PX, SIZE_PX), (255, 255, 255, 0))
        canvas.paste(Image.open(BytesIO(png)).convert("RGBA"), (MARGIN_PX, MARGIN_PX))
        rendered[concept.icon] = np.asarray(np.asarray(canvas) / 255, dtype=np.float32)
    return rendered


def _body(icons: Any, name: str) -> str:
    """The SVG of an icon, which some sets have under another name."""
    known = icons["icons"]
    body: str = known[name if name in known else icons["aliases"][name]["parent"]]["body"]
    return body


def recolour(image: PixelArray, colour: str) -> PixelArray:
    """``image`` with its main colour replaced by ``colour``; other colours (windows, eyes) stay."""
    hue, sat, val = _to_hsv(image[..., :3])
    mask = _main_colour_mask(hue, sat, val, image[..., 3])
    to_hue, sat_factor, sat_offset, val_factor, val_offset = COLOURS[colour]
    new_sat = np.clip(sat * sat_factor + sat_offset, 0, 1)
    new_val = np.clip(val * val_factor + val_offset, 0, 1)
    rgb = _to_rgb(np.full_like(hue, to_hue / 360), new_sat, new_val)
    blended = image.copy()
    blended[..., :3] = image[..., :3] * (1 - mask[..., None]) + rgb * mask[..., None]
    return blended


def _main_colour_mask(hue: PixelArray, sat: PixelArray, val: PixelArray, alpha: PixelArray) -> PixelArray:
    """1 for pixels of the icon's main colour: its most frequent hue, or, in a gray icon, every light pixel."""
    vivid = (sat > 0.18) & (val > 0.15) & (alpha > 0.5)
    if vivid.sum() < 0.2 * (alpha > 0.5).sum():
        return ((alpha > 0) & (val > 0.3)).astype(np.float32)
    histogram, _ = np.histogram(hue[vivid], bins=36, range=(0, 1), weights=(sat * val)[vivid])
    smooth = histogram + np.roll(histogram, 1) + np.roll(histogram, -1)
    distance = np.abs(hue - (int(smooth.argmax()) + 0.5) / 36)
    near = np.minimum(distance, 1 - distance) < 0.1
    return np.asarray(near & (sat > 0.12), dtype=np.float32)


def _to_hsv(rgb: PixelArray) -> tuple[PixelArray, PixelArray, PixelArray]:
    high, low = rgb.max(-1), rgb.min(-1)
    span = np.where(high - low < 1e-6, 1.0, high - low)
    r, g, b = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    hue = np.where(high == r, (g - b) / span % 6, np.where(high == g, (b - r) / span + 2, (r - g) / span + 4)) / 6
    return hue.astype(np.float32), np.where(high > 0, (high - low) / np.maximum(high, 1e-6), 0), high


def _to_rgb(hue: PixelArray, sat: PixelArray, val: PixelArray) -> PixelArray:
    pure = np.array(colorsys.hsv_to_rgb(float(hue.flat[0]), 1, 1), dtype=np.float32)
    return np.asarray(val[..., None] * (1 - sat[..., None] * (1 - pure)), dtype=np.float32)


def compose(image: PixelArray, rng: random.Random, ground: str | None) -> PixelArray:
    """Flatten RGBA ``image`` onto ``ground`` (white if None), shifted by up to 3 px; RGB [128, 128, 3] in 0..1."""
    shift = (rng.randint(-3, 3), rng.randint(-3, 3))
    moved = np.roll(image, shift, (0, 1))
    base = np.ones(3, dtype=np.float32)
    if ground is not None:
        base = np.clip(np.array(GROUNDS[ground], dtype=np.float32) / 255 + rng.uniform(-0.04, 0.04), 0, 1)
    alpha = moved[..., 3:]
    return np.asarray(moved[..., :3] * alpha + base * (1 - alpha), dtype=np.float32)

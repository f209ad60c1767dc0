"""Drawn digits to learn from, and a tiny model that learns them."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from models.catalog.vision import CONFIG
from tests.models.vision.rig import TINY, save

SIDE_PX = 32


def save_small(folder: Path) -> Path:
    """Write a model with random weights for images of :data:`SIDE_PX` into ``folder``."""
    save(TINY, folder)
    config = json.loads((folder / CONFIG).read_text())
    config["pretrained_cfg"] |= {"input_size": [3, SIDE_PX, SIDE_PX], "crop_pct": 1.0}
    (folder / CONFIG).write_text(json.dumps(config))
    return folder


def digit(number: int, seed: int) -> Image.Image:
    """A digit in Pillow's own font, of a size, place, slant, brightness and blur of its own."""
    chance = torch.Generator().manual_seed(1000 * number + seed)
    size, x, y, slant, angle, blur, dark = torch.rand(7, generator=chance).tolist()
    ink, paper = int(90 * dark), 255
    image = Image.new("L", (SIDE_PX, SIDE_PX), paper)
    place = (SIDE_PX / 2 + 4 * (x - 0.5), SIDE_PX / 2 + 4 * (y - 0.5))
    font = ImageFont.load_default(20 + 8 * size)
    ImageDraw.Draw(image).text(place, str(number), fill=ink, font=font, anchor="mm")
    slanted = image.transform(image.size, Image.Transform.AFFINE, (1, (slant - 0.5) / 3, 0, 0, 1, 0), fillcolor=paper)
    return slanted.rotate(20 * (angle - 0.5), fillcolor=paper).filter(ImageFilter.GaussianBlur(blur))

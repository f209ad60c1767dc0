"""Every concept of the built-in checkpoint, rendered from several openly licensed emoji sets, in many colours."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from models.catalog.concepts import Concept
from training.house import images

SIZE_PX = 96
TRAINED = ("noto", "noto-v1", "twemoji", "fluent-emoji", "fluent-emoji-flat", "fluent-emoji-high-contrast",
           "emojione", "fxemoji")  # fmt: skip
"""The sets that are learnt, named as the npm packages ``@iconify-json/...`` that they are in."""
HELD_OUT = ("openmoji",)
"""The set that is never learnt from: it tells how well unknown styles are recognised."""
_ONE_COLOUR = ("fluent-emoji-high-contrast",)
COLOURS = tuple(images.COLOURS)
NONE = -1
"""Stands for a thing in its own colours, and for a ground that the captions have no name for."""


@dataclass(frozen=True)
class Renderings:
    """Icons without a ground, and what each shows."""

    pixels: Tensor
    """uint8 [N, 4, SIZE_PX, SIZE_PX], RGBA."""
    concepts: Tensor
    """[N], the row in the list of concepts."""
    sets: Tensor
    """[N], the place in ``TRAINED + HELD_OUT``."""
    colours: Tensor
    """[N], the place in ``COLOURS``, or ``NONE``."""

    def of_sets(self, names: tuple[str, ...]) -> Renderings:
        """Those of the sets ``names``."""
        places = torch.tensor([(TRAINED + HELD_OUT).index(name) for name in names])
        kept = torch.isin(self.sets, places).nonzero()[:, 0]
        return Renderings(self.pixels[kept], self.concepts[kept], self.sets[kept], self.colours[kept])


def prepare(icons: Path, concepts: list[Concept], work: Path) -> Renderings:
    """Render all sets, once: later calls read ``work``/renderings.safetensors.

    Args:
        icons: a folder in which ``npm install`` has put the packages, or each in a folder with the name of its set.
    """
    path = work / "renderings.safetensors"
    if not path.exists():
        made = [row for place, name in enumerate(TRAINED + HELD_OUT) for row in _render(icons, name, place, concepts)]
        pixels, rows = torch.stack([each for each, _ in made]), torch.tensor([row for _, row in made])
        save_file({"pixels": pixels, "concepts": rows[:, 0].contiguous(), "sets": rows[:, 1].contiguous(),
                   "colours": rows[:, 2].contiguous()}, path)  # fmt: skip
    return Renderings(**load_file(path))


def icons_file(icons: Path, name: str) -> Path:
    """``icons.json`` of the set ``name`` below ``icons``."""
    found = icons / "node_modules" / "@iconify-json" / name / "icons.json"
    return found if found.exists() else icons / name / "icons.json"


def _render(icons: Path, name: str, place: int, concepts: list[Concept]) -> list[tuple[Tensor, tuple[int, int, int]]]:
    """Each concept that the set has, in its own colours and in all others: pixels, (concept, set, colour)."""
    file = icons_file(icons, name)
    names = json.loads(file.read_text(encoding="utf-8"))
    present = [each for each in concepts if each.icon in names["icons"] or each.icon in names.get("aliases", {})]
    made: list[tuple[Tensor, tuple[int, int, int]]] = []
    for icon, pixels in images.render(file, present).items():
        concept = next(row for row, each in enumerate(concepts) if each.icon == icon)
        small = _small(pixels)
        made.append((_planes(small), (concept, place, NONE)))
        if name not in _ONE_COLOUR:
            made += [(_planes(images.recolour(small, colour)), (concept, place, number))
                     for number, colour in enumerate(COLOURS)]  # fmt: skip
    return made


def _small(pixels: images.PixelArray) -> images.PixelArray:
    whole = Image.fromarray((pixels * 255).round().astype(np.uint8))
    return np.asarray(np.asarray(whole.resize((SIZE_PX, SIZE_PX), Image.Resampling.BOX)) / 255, dtype=np.float32)


def _planes(pixels: images.PixelArray) -> Tensor:
    return torch.from_numpy((pixels * 255).round().astype(np.uint8)).permute(2, 0, 1).contiguous()

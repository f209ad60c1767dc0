"""How much the shipped model recognises: scenes that it was not trained on, by set, and a set that it never saw."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from models.catalog.concepts import Concept, with_article
from models.vision.model import EMBEDDING, LOGITS, VisionModel
from models.vision.texts import TextReader
from training.eyes.network import INPUT_PX
from training.eyes.renderings import HELD_OUT, NONE, TRAINED, Renderings
from training.eyes.scenes import Painter

SCENES = 1
"""How many scenes are painted of each icon."""
_SEED = 1_000_000_007
"""No batch of the training has this seed."""
_BATCH = 64


@dataclass(frozen=True)
class Measured:
    """Shares of images, from 0 to 1."""

    shown: str
    images: int
    named: float
    """The label of the concept is the most probable one."""
    among_five: float
    matched: float
    """Of the texts ``a drawing of ...`` of all concepts, that of the concept is the most similar one."""


def measure(model: VisionModel, reader: TextReader, renderings: Renderings, concepts: list[Concept]) -> list[Measured]:
    """For each set: its icons as they are, on white, and scenes with its icons in their own and in other colours."""
    texts = reader.read([f"a drawing of {with_article(concept.words[0])}" for concept in concepts])
    return list(_measure(model, texts, renderings))


def _measure(model: VisionModel, texts: Tensor, renderings: Renderings) -> Iterator[Measured]:
    total = []
    for name in TRAINED + HELD_OUT:
        icons = renderings.of_sets((name,))
        own = (icons.colours == NONE).nonzero()[:, 0]
        yield _seen(f"{name}, on white", model, texts, _on_white(icons.pixels[own]), icons.concepts[own])
        found = _scenes(name, model, texts, icons, own)
        total += [found] * (name in TRAINED)
        yield found
        coloured = (icons.colours != NONE).nonzero()[:, 0]
        if len(coloured):
            some = coloured[torch.randperm(len(coloured), generator=torch.Generator().manual_seed(_SEED))[: len(own)]]
            yield _scenes(f"{name}, recoloured", model, texts, icons, some)
    count = sum(each.images for each in total)
    means = [
        sum(getattr(each, key) * each.images for each in total) / count for key in ("named", "among_five", "matched")
    ]
    yield Measured("all sets that were learnt", count, *means)


def _scenes(shown: str, model: VisionModel, texts: Tensor, icons: Renderings, rows: Tensor) -> Measured:
    painter, generator = Painter(icons, INPUT_PX), torch.Generator().manual_seed(_SEED)
    painted = [painter.paint(part, generator) for part in rows.repeat(SCENES).split(_BATCH)]
    images = torch.cat([each.images for each in painted])
    return _seen(f"{shown}, in scenes", model, texts, images, torch.cat([each.concepts for each in painted]))


def _on_white(pixels: Tensor) -> Tensor:
    icons = pixels.float() / 255
    return icons[:, :3] * icons[:, 3:] + 1 - icons[:, 3:]


def _seen(shown: str, model: VisionModel, texts: Tensor, images: Tensor, concepts: Tensor) -> Measured:
    named = among = matched = 0.0
    for part, wanted in zip(images.split(_BATCH), concepts.split(_BATCH), strict=True):
        inputs = model.prepare([_image(each) for each in part])
        best = model.see(inputs, LOGITS).topk(5, 1)[1]
        similar = normalize(model.see(inputs, EMBEDDING), dim=-1) @ texts.T
        named += (best[:, 0] == wanted).sum().item()
        among += (best == wanted[:, None]).any(1).sum().item()
        matched += (similar.argmax(1) == wanted).sum().item()
    count = len(images)
    return Measured(shown, count, named / count, among / count, matched / count)


def _image(pixels: Tensor) -> Image.Image:
    return Image.fromarray((pixels * 255).round().byte().permute(1, 2, 0).numpy())

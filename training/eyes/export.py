"""Writes the shipped folder from the averaged weights: timm's layout in half precision, and the two projections."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from models.catalog.concepts import Concept
from models.catalog.vision import PROJECTION, WEIGHTS
from models.vision.timm_import import import_timm
from training.eyes.network import INPUT_PX, MEAN, STD, Eyes


def export(eyes: Eyes, concepts: list[Concept], target: Path) -> None:
    """Write the model to the folder ``target``; the labels are the main words of the concepts."""
    backbone = eyes.backbone.eval().to(memory_format=torch.contiguous_format)
    backbone.pretrained_cfg |= {
        "input_size": (3, INPUT_PX, INPUT_PX), "crop_pct": 1.0, "crop_mode": "center", "interpolation": "bicubic",
        "mean": (MEAN,) * 3, "std": (STD,) * 3, "license": "apache-2.0", "tag": "",
    }  # fmt: skip
    labels = {"label_names": [concept.words[0] for concept in concepts]}
    import_timm().models.save_for_hf(backbone, str(target), model_config=labels, safe_serialization=True)
    weights = {name: each.half() if each.is_floating_point() else each
               for name, each in load_file(target / WEIGHTS).items()}  # fmt: skip
    save_file(weights, target / WEIGHTS, {"format": "pt"})
    projections = {"image": eyes.image.weight, "text": eyes.text.weight}
    save_file({name: each.detach().half().contiguous() for name, each in projections.items()}, target / PROJECTION)

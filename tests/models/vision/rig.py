"""What the tests of vision share: models saved in timm's layout, and jobs run by an engine."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from models.catalog.catalog import Catalog
from models.catalog.vision import CONFIG, WEIGHTS, VisionModels, VisionSpec
from models.diffusion.capacity import Capacity
from models.diffusion.engine import Engine
from models.diffusion.events import Failed, Finished
from models.diffusion.work import Task
from models.errors import JobFailure
from models.jobs.kinds import BUILT_IN_KINDS
from models.jobs.params import JobParams
from models.jobs.results import JobOutput
from models.vision.timm_import import import_timm

Folder = Callable[[str], Path]
TINY = "test_efficientnet"


def save(name: str, folder: Path, **options: Any) -> Path:
    """Write timm's model ``name`` with random weights into ``folder``; ``options`` are those of ``create_model``."""
    torch.manual_seed(0)
    model = import_timm().create_model(name, **options)
    folder.mkdir(parents=True)
    save_file(model.state_dict(), folder / WEIGHTS)
    config = {key: value for key, value in model.pretrained_cfg.items() if value is not None}
    described = {"architecture": name, "num_classes": model.num_classes, "pretrained_cfg": config}
    (folder / CONFIG).write_text(json.dumps({**described, "model_args": options}))
    return folder


def save_naflex(folder: Path) -> Path:
    """Write a small NaFlex model with random weights and five classes into ``folder``."""
    return save("naflexvit_base_patch16_gap", folder, depth=2, embed_dim=64, num_heads=2, num_classes=5)


def smooth_noise(seed: int, size: tuple[int, int] = (200, 170)) -> Image.Image:
    """An RGB image of smooth noise."""
    noise = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)


def catalog_of(*specs: VisionSpec) -> Catalog:
    return Catalog({}, vision=VisionModels({spec.name: spec for spec in specs}))


def plain(folder: Path) -> tuple[Any, Any]:
    """timm's own model of the folder, and its preprocessing."""
    timm = import_timm()
    model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    config = timm.data.resolve_data_config({}, model=model)
    return model, timm.data.create_transform(**config, is_training=False)


def open_engine(rows: int = 8) -> Engine:
    def load(spec: object) -> Any:
        raise AssertionError("no checkpoint is needed")

    return Engine(load, capacity=Capacity(rows))


def see(
    catalog: Catalog, jobs: Mapping[str, JobParams], images: Mapping[str, Image.Image]
) -> dict[str, JobOutput | JobFailure]:
    """Run ``jobs`` together in one engine; the outcome of each by its name."""
    engine = open_engine()
    kinds = {kind.params: kind.name for kind in BUILT_IN_KINDS}
    for name, params in jobs.items():
        task = Task(kind=kinds[type(params)], params=params, catalog=catalog, images=images)
        engine.add_row(name, task)
    found: dict[str, Any] = {}
    try:
        while not engine.is_idle:
            for event in engine.step():
                if isinstance(event, Finished):
                    found[event.row_id] = event.result
                elif isinstance(event, Failed):
                    found[event.row_id] = event.failure
    finally:
        engine.close()
    return found

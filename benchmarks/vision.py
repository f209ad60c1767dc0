"""What seeing costs: images per second by plain timm one by one and by the engine in batches, and what safety adds.

``python -m benchmarks.vision`` prints a table. The weights are random: the time does not depend on them. Plain timm
and the engine both prepare each image, of 512 x 512 px, within the measured time.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from models.catalog.catalog import Catalog
from models.catalog.vision import VisionModels, VisionSpec
from models.diffusion.capacity import Capacity
from models.diffusion.engine import Engine
from models.diffusion.work import Task
from models.jobs.vision import CLASSIFY, ClassifyParams
from models.vision.safety import open_nsfw
from models.vision.timm_import import import_timm

MODELS = ("mobilenetv3_small_100", "resnet18", "vit_tiny_patch16_224")
BATCHES = (1, 8, 32)
SIDE_PX = 512
TRIES = 3


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure what seeing costs.")
    parser.add_argument("--models", nargs="+", default=MODELS, help="names of timm")
    options = parser.parse_args()
    images = {str(number): _image(number) for number in range(max(BATCHES))}
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; images per second")
    print(f"{'model':28}{'timm, one by one':>18}" + "".join(f"{f'engine, {size}':>12}" for size in BATCHES))
    with tempfile.TemporaryDirectory() as folder:
        for name in options.models:
            spec = _saved(name, Path(folder) / f"{name}.safetensors")
            plain = 8 / _seconds(partial(_plain, spec, images, 8))
            engine = [size / _engine_s(spec, images, size) for size in BATCHES]
            print(f"{name:28}{plain:18.1f}" + "".join(f"{each:12.1f}" for each in engine), flush=True)
    classifier = open_nsfw()
    classifier(images["0"])
    print(f"safety, an image of {SIDE_PX} px: {1000 * _seconds(lambda: classifier(images['0'])):.1f} ms")


def _image(seed: int) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC)


def _saved(name: str, file: Path) -> VisionSpec:
    save_file(import_timm().create_model(name).state_dict(), file)
    return VisionSpec(name=name, file=file, architecture=name)


def _seconds(work: Callable[[], Any]) -> float:
    """The median time of several tries."""
    taken = []
    for _ in range(TRIES):
        began_at = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began_at)
    return median(taken)


_PLAIN: dict[str, tuple[Any, Any]] = {}


@torch.inference_mode()
def _plain(spec: VisionSpec, images: Mapping[str, Image.Image], count: int) -> None:
    """Classify ``count`` images one by one, as the documentation of timm does."""
    if spec.name not in _PLAIN:
        timm = import_timm()
        model = timm.create_model(spec.name).eval()
        config = timm.data.resolve_data_config({}, model=model)
        _PLAIN[spec.name] = model, timm.data.create_transform(**config, is_training=False)
    model, transform = _PLAIN[spec.name]
    for number in range(count):
        model(transform(images[str(number)])[None]).softmax(-1).topk(5)


def _engine_s(spec: VisionSpec, images: Mapping[str, Image.Image], count: int) -> float:
    """Seconds for ``count`` jobs that are there at once."""
    catalog = Catalog({}, vision=VisionModels({spec.name: spec}))
    engine = Engine(_no_checkpoint, capacity=Capacity(count))
    try:
        _see(engine, catalog, spec, images, count)
        return _seconds(lambda: _see(engine, catalog, spec, images, count))
    finally:
        engine.close()


def _no_checkpoint(spec: object) -> Any:
    raise AssertionError("no job of this benchmark draws")


def _see(engine: Engine, catalog: Catalog, spec: VisionSpec, images: Mapping[str, Image.Image], count: int) -> None:
    for number in range(count):
        params = ClassifyParams(image=str(number), model=spec.name, top_k=5, multi_label=False)
        engine.add_row(str(number), Task(kind=CLASSIFY, params=params, catalog=catalog, images=images))
    while not engine.is_idle:
        engine.step()


if __name__ == "__main__":
    main()

"""What the GPU pass uses of the engine: every import from ``models`` is here, so that a rename touches one file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from PIL.Image import Image

from models.catalog import Catalog, Defaults, Limits, ModelSpec
from models.diffusion.backends.compiled import CompiledDenoiser, bucket
from models.diffusion.backends.eager import EagerDenoiser, call_unet
from models.diffusion.backends.inputs import seeded_inputs
from models.diffusion.backends.measure import FLOAT32_BOUND, HALF_BOUND, difference
from models.diffusion.calibration import calibrate
from models.diffusion.capacity import Capacity
from models.diffusion.checkpoint import Checkpoint, load_checkpoint
from models.diffusion.denoiser import Conditioning, Denoiser, Residuals
from models.diffusion.denoising import Denoising
from models.diffusion.engine import Engine
from models.diffusion.events import Drawn, Failed, Progressed
from models.diffusion.families.family import load_family
from models.diffusion.plans import Tools, plan
from models.diffusion.sampling import build_scheduler
from models.diffusion.work import Load, Task
from models.errors import DrawingFailed, JobFailure, OutOfMemory
from models.families import SDXL, STABLE_DIFFUSION
from models.params import IMG2IMG, INPAINT, TXT2IMG, DrawParams, Mask

__all__ = [
    "FLOAT32_BOUND",
    "HALF_BOUND",
    "IMG2IMG",
    "INPAINT",
    "SDXL",
    "STABLE_DIFFUSION",
    "TXT2IMG",
    "Capacity",
    "Checkpoint",
    "CompiledDenoiser",
    "Conditioning",
    "Defaults",
    "Denoiser",
    "Denoising",
    "DrawParams",
    "DrawingFailed",
    "Drawn",
    "EagerDenoiser",
    "Engine",
    "Failed",
    "JobFailure",
    "Limits",
    "Mask",
    "ModelSpec",
    "OutOfMemory",
    "Progressed",
    "Residuals",
    "begin_denoising",
    "bucket",
    "build_scheduler",
    "calibrate",
    "call_unet",
    "difference",
    "join",
    "load_family",
    "load_folder",
    "make_params",
    "open_engine",
    "seeded_inputs",
]  # fmt: skip

NO_IMAGES: Mapping[str, Image] = MappingProxyType({})


def load_folder(folder: Path, family: str, dtype: str, device: torch.device, px: int) -> Checkpoint:
    """Load a diffusers folder as a worker does; ``dtype`` is a name such as "float16"."""
    defaults = Defaults(sampler="Euler", width=px, height=px, guidance_scale=7.0)
    spec = ModelSpec(name=folder.name, family=family, folder=folder, dtype=dtype, defaults=defaults)
    return load_checkpoint(spec, device)


def make_params(checkpoint: Checkpoint, **changes: Any) -> DrawParams:
    """The parameters of an image at the model's default size, with ``changes``."""
    defaults = checkpoint.spec.defaults
    own: dict[str, Any] = {
        "prompt": "a red house by the sea", "negative_prompt": "", "model": checkpoint.spec.name, "sampler": "Euler",
        "num_inference_steps": 5, "guidance_scale": 7.0, "seed": 1, "width": defaults.width, "height": defaults.height,
    }  # fmt: skip
    return DrawParams(**(own | changes))


def _task(checkpoint: Checkpoint, params: DrawParams, kind: str, images: Mapping[str, Image]) -> Task:
    return Task(kind=kind, params=params, catalog=Catalog({checkpoint.spec.name: checkpoint.spec}), pictures=images)


@contextmanager
def open_engine(
    checkpoint: Checkpoint, rows: int | None, *, denoiser: Denoiser | None = None, preview_every: int = 0
) -> Iterator[Engine]:
    """An engine that draws ``rows`` images at once, perhaps with another denoiser; closed at the end."""
    served = replace(checkpoint, denoiser=denoiser or checkpoint.denoiser)
    engine = Engine(lambda spec: served, device=checkpoint.device, capacity=Capacity(rows), preview_every=preview_every)
    engine.load(checkpoint.spec)
    try:
        yield engine
    finally:
        engine.close()


def join(
    engine: Engine,
    row_id: str,
    checkpoint: Checkpoint,
    params: DrawParams,
    kind: str = TXT2IMG,
    images: Mapping[str, Image] = NO_IMAGES,
) -> None:
    """Let a row join ``engine``."""
    engine.join(row_id, _task(checkpoint, params, kind, images))


@torch.inference_mode()
def begin_denoising(
    checkpoint: Checkpoint, params: DrawParams, kind: str = TXT2IMG, images: Mapping[str, Image] = NO_IMAGES
) -> Denoising:
    """An image before its first step, outside any engine, so that a test decides who shares its batches."""
    load: Callable[[ModelSpec], Checkpoint] = lambda spec: checkpoint  # noqa: E731
    steps = plan(_task(checkpoint, params, kind, images), Tools(load, checkpoint.device))
    wish = next(steps)
    while isinstance(wish, Load):
        wish = steps.send(wish.load())
    assert isinstance(wish, Denoising)
    return wish


@torch.inference_mode()
def run_to_the_end(batch: Sequence[Denoising]) -> None:
    """Take all steps of ``batch`` together, one forward for all of them at each step.

    Raises:
        JobFailure: a forward or a prediction fails.
    """
    while batch[0].step < batch[0].steps:
        for denoising, output in zip(batch, batch[0].forward(batch), strict=True):
            if isinstance(output, JobFailure):
                raise output
            denoising.advance(output)


@torch.inference_mode()
def decode_one(denoising: Denoising) -> Image:
    """The image of finished latents, decoded alone."""
    (image,) = denoising.finish([denoising])
    if isinstance(image, JobFailure):
        raise image
    assert isinstance(image, Image)
    return image

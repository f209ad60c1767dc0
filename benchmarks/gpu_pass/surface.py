"""The part of the engine that the GPU pass uses. All imports from ``models`` are here, so a rename changes one file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from PIL.Image import Image

from models.catalog.catalog import Catalog, Defaults, ModelSpec
from models.catalog.families import IMG2IMG, INPAINT, SDXL, STABLE_DIFFUSION, TXT2IMG
from models.diffusion.backends.compiled import CompiledDenoiser
from models.diffusion.backends.eager import call_unet
from models.diffusion.backends.inputs import seeded_inputs
from models.diffusion.backends.measure import FLOAT32_BOUND, HALF_BOUND, difference
from models.diffusion.calibration import calibrate
from models.diffusion.capacity import Capacity
from models.diffusion.checkpoint import Checkpoint
from models.diffusion.checkpoint_loading import load_checkpoint
from models.diffusion.denoiser import Conditioning, Denoiser, InputShape, Residuals
from models.diffusion.denoising_work import DenoisingToImage
from models.diffusion.engine import Engine
from models.diffusion.events import Failed, Finished, Progressed
from models.diffusion.plans import Tools, plan
from models.diffusion.sampling import build_scheduler
from models.diffusion.verify import PSNR_DB
from models.diffusion.work import LoadRequest, Task
from models.errors import JobFailure
from models.jobs.params import DrawParams, Mask

__all__ = [
    "FLOAT32_BOUND",
    "HALF_BOUND",
    "IMG2IMG",
    "INPAINT",
    "PSNR_DB",
    "SDXL",
    "STABLE_DIFFUSION",
    "TXT2IMG",
    "Checkpoint",
    "CompiledDenoiser",
    "Conditioning",
    "Denoiser",
    "DenoisingToImage",
    "DrawParams",
    "Engine",
    "Failed",
    "Finished",
    "InputShape",
    "Mask",
    "Progressed",
    "Residuals",
    "add_row",
    "build_scheduler",
    "calibrate",
    "call_unet",
    "decode_one",
    "difference",
    "load_folder",
    "make_params",
    "open_engine",
    "prepare_denoising",
    "run_to_the_end",
    "seeded_inputs",
]

NO_IMAGES: Mapping[str, Image] = MappingProxyType({})


def load_folder(folder: Path, family: str, dtype: str, device: torch.device, px: int) -> Checkpoint:
    """Load a diffusers folder as a worker does; ``dtype`` is a name such as "float16"."""
    defaults = Defaults(sampler="Euler", width=px, height=px, guidance_scale=7.0)
    spec = ModelSpec(name=folder.name, family=family, folder=folder, dtype=dtype, defaults=defaults)
    return load_checkpoint(spec, device)


def make_params(checkpoint: Checkpoint, **changes: Any) -> DrawParams:
    """Parameters of a txt2img job at the model's default size, with ``changes``."""
    defaults = checkpoint.spec.defaults
    own: dict[str, Any] = {
        "prompt": "a red house by the sea", "negative_prompt": "", "model": checkpoint.spec.name, "sampler": "Euler",
        "num_inference_steps": 5, "guidance_scale": 7.0, "seed": 1, "width": defaults.width, "height": defaults.height,
    }  # fmt: skip
    return DrawParams(**(own | changes))


def _task(checkpoint: Checkpoint, params: DrawParams, kind: str, images: Mapping[str, Image]) -> Task:
    return Task(kind=kind, params=params, catalog=Catalog({checkpoint.spec.name: checkpoint.spec}), images=images)


@contextmanager
def open_engine(
    checkpoint: Checkpoint, rows: int | None, *, denoiser: Denoiser | None = None, preview_every: int = 0
) -> Iterator[Engine]:
    """An engine with ``checkpoint`` loaded, closed at the end.

    Args:
        rows: the number of rows that are drawn at once; ``None`` lets the engine find it.
        denoiser: replaces the denoiser of ``checkpoint``.
        preview_every: as for :class:`Engine`.
    """
    served = replace(checkpoint, denoiser=denoiser or checkpoint.denoiser)
    engine = Engine(lambda spec: served, device=checkpoint.device, capacity=Capacity(rows), preview_every=preview_every)
    engine.load(checkpoint.spec)
    try:
        yield engine
    finally:
        engine.close()


def add_row(
    engine: Engine,
    row_id: str,
    checkpoint: Checkpoint,
    params: DrawParams,
    kind: str = TXT2IMG,
    images: Mapping[str, Image] = NO_IMAGES,
) -> None:
    """Add a row to ``engine`` for one job."""
    engine.add_row(row_id, _task(checkpoint, params, kind, images))


@torch.inference_mode()
def prepare_denoising(checkpoint: Checkpoint, params: DrawParams) -> DenoisingToImage:
    """A txt2img job before its first step, outside of an engine, so that a check can choose its batches itself."""
    load: Callable[[ModelSpec], Checkpoint] = lambda spec: checkpoint  # noqa: E731
    steps = plan(_task(checkpoint, params, TXT2IMG, NO_IMAGES), Tools(load, checkpoint.device))
    following = next(steps)
    while isinstance(following, LoadRequest):
        following = steps.send(following.load())
    assert isinstance(following, DenoisingToImage)
    return following


@torch.inference_mode()
def run_to_the_end(batch: Sequence[DenoisingToImage]) -> None:
    """Take all steps of ``batch`` together, with one forward for all of them at each step.

    Raises:
        JobFailure: a forward or a prediction fails.
    """
    while batch[0].step < batch[0].steps:
        outputs = [_result(each) for each in batch[0].forward(batch)]
        for failure in batch[0].advance(batch, outputs):
            if failure is not None:
                raise failure


def _result(output: torch.Tensor | JobFailure) -> torch.Tensor:
    if isinstance(output, JobFailure):
        raise output
    return output


@torch.inference_mode()
def decode_one(denoising: DenoisingToImage) -> Image:
    """The image of the latents of ``denoising`` after its last step, decoded alone."""
    (image,) = denoising.finish([denoising])
    if isinstance(image, JobFailure):
        raise image
    return image

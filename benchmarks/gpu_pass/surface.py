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

from models.catalog.auxiliary import AuxiliaryModel
from models.catalog.catalog import Catalog, Defaults, ModelSpec
from models.catalog.families import FLUX, IMG2IMG, INPAINT, PIXART_SIGMA, SD3, SDXL, STABLE_DIFFUSION, TXT2IMG
from models.catalog.vision import EYES
from models.diffusion.backends.compiled import CompiledDenoiser
from models.diffusion.backends.eager import call_unet
from models.diffusion.backends.inputs import seeded_inputs
from models.diffusion.backends.measure import FLOAT32_BOUND, HALF_BOUND, difference
from models.diffusion.calibration import calibrate
from models.diffusion.capacity import Capacity
from models.diffusion.checkpoint import Checkpoint
from models.diffusion.checkpoint_loading import load_checkpoint
from models.diffusion.denoiser import Conditioning, Denoiser, InputShape, Residuals, batch_sizes
from models.diffusion.denoising_work import DenoisingToImage
from models.diffusion.engine import Engine
from models.diffusion.events import Failed, Finished, Progressed
from models.diffusion.placement import parts_of
from models.diffusion.plans import Tools, plan
from models.diffusion.reduced_weights import STORED
from models.diffusion.sampling import build_scheduler
from models.diffusion.upscaling.upscaler import load_upscaler
from models.diffusion.upscaling.upscaling import Upscaling
from models.diffusion.verify import PSNR_DB
from models.diffusion.work import LoadRequest, Task
from models.errors import JobFailure
from models.jobs.params import UPSCALE, DrawParams, JobParams, Mask, UpscaleParams
from models.jobs.vision import EMBED, POOLED, SIMILARITY, EmbedParams, SimilarityParams

__all__ = [
    "FLOAT32_BOUND",
    "FLUX",
    "HALF_BOUND",
    "IMG2IMG",
    "INPAINT",
    "PIXART_SIGMA",
    "PSNR_DB",
    "SD3",
    "SDXL",
    "STABLE_DIFFUSION",
    "STORED",
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
    "Upscaling",
    "add_row",
    "add_seeing",
    "add_upscaling",
    "batch_sizes",
    "build_scheduler",
    "calibrate",
    "call_unet",
    "decode_one",
    "difference",
    "load_folder",
    "load_upscaler",
    "make_params",
    "open_bare_engine",
    "open_engine",
    "parts_of",
    "prepare_denoising",
    "run_to_the_end",
    "seeded_inputs",
]

NO_IMAGES: Mapping[str, Image] = MappingProxyType({})


def load_folder(
    folder: Path, family: str, dtype: str, device: torch.device, px: int, offload: str = "none", weights: str = "auto"
) -> Checkpoint:
    """Load a diffusers folder as a worker does; ``dtype`` is a name such as "float16"."""
    defaults = Defaults(sampler="Euler", width=px, height=px, guidance_scale=7.0)
    spec = ModelSpec(
        name=folder.name, family=family, folder=folder, dtype=dtype, defaults=defaults, offload=offload, weights=weights
    )
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


@contextmanager
def open_bare_engine(device: torch.device) -> Iterator[Engine]:
    """An engine on ``device`` without a checkpoint, for jobs that need none; closed at the end."""

    def load(spec: ModelSpec) -> Checkpoint:
        raise ValueError(f"no checkpoint is needed, but {spec.name} is loaded")

    engine = Engine(load, device=device, capacity=Capacity(8))
    try:
        yield engine
    finally:
        engine.close()


def add_upscaling(engine: Engine, row_id: str, weights: Path, image: Image, scale: float) -> None:
    """Add a job to ``engine`` that enlarges ``image`` with the upscaler in ``weights``."""
    upscaler = AuxiliaryModel(name=weights.stem, path=weights)
    params = UpscaleParams(image="input:image", scale=scale, upscaler=upscaler.name)
    _add(engine, row_id, UPSCALE, params, {"input:image": image}, {"upscalers": {upscaler.name: upscaler}})


def add_seeing(engine: Engine, row_id: str, images: Sequence[Image], texts: Sequence[str] = ()) -> None:
    """Add a job to ``engine`` for the built-in vision model: the embedding of one image, or the similarity of the
    first of more images with the others and with ``texts``."""
    sources = {f"input:{number}": image for number, image in enumerate(images)}
    first, *others = sources
    if not others:
        embed = EmbedParams(image=first, model=EYES, output=POOLED, normalize=True)
        _add(engine, row_id, EMBED, embed, sources)
        return
    similarity = SimilarityParams(image=first, others=tuple(others), texts=tuple(texts), model=EYES)
    _add(engine, row_id, SIMILARITY, similarity, sources)


def _add(
    engine: Engine,
    row_id: str,
    kind: str,
    params: JobParams,
    images: Mapping[str, Image],
    extras: Mapping[str, Mapping[str, AuxiliaryModel]] = MappingProxyType({}),
) -> None:
    engine.add_row(row_id, Task(kind=kind, params=params, catalog=Catalog({}, extras=extras), images=images))


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

"""Latents before the first step: timesteps are set, the input image is encoded and noise is drawn, in this order.

The plain diffusers pipelines keep the same order; random numbers depend on it, since all come from one generator.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from PIL.Image import Image
from torch.nn.functional import interpolate

from models.catalog.families import IMG2IMG, INPAINT, SDXL, SDXL_REFINER, TXT2IMG
from models.diffusion.canvas import Canvas
from models.diffusion.checkpoint import Checkpoint
from models.diffusion.control.controlnet import ControlGuide
from models.diffusion.denoiser import Conditioning
from models.diffusion.denoising import Blend, Denoising
from models.diffusion.denoising_work import DenoisingToImage, DenoisingToLatents
from models.diffusion.sampling import NoiseScheduler, build_scheduler, step_options
from models.diffusion.variation import slerp
from models.errors import DrawingFailed
from models.jobs.params import Variation

Size = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """The parameters of sampling one image."""

    sampler: str
    num_inference_steps: int
    guidance_scale: float
    seed: int
    variation: Variation | None = None
    strength: float = 1.0
    part_weights: tuple[float, ...] | None = None
    """The weights of a composed prompt's parts; ``None`` for a plain prompt."""


@torch.inference_mode()
def prepare_latents(
    checkpoint: Checkpoint,
    sampling: Sampling,
    size: Size,
    conditioning: Conditioning,
    canvas: Canvas | None = None,
    *,
    controls: tuple[ControlGuide, ...] = (),
    reuse_interval: int = 1,
) -> DenoisingToImage:
    """Prepare an image up to its first step, from noise alone (txt2img) or over a canvas (img2img, inpaint).

    Args:
        size: width and height in pixels.

    Raises:
        DrawingFailed: the model cannot do this kind of job, the sampler is unknown, or cannot be used.
        ValueError: the scheduler cannot take this number of steps.
    """
    problem = checkpoint.family.problem(checkpoint.pipeline, _kind(canvas), size)
    if problem is not None:
        raise DrawingFailed(problem, "model")
    draft = _draft(checkpoint, sampling, size, conditioning)
    draft.controls, draft.reuse_interval = controls, reuse_interval
    generator = torch.Generator().manual_seed(sampling.seed)
    draft.options = step_options(draft.scheduler, generator)
    if canvas is None:
        draft.latents = checkpoint.family.init_latents(draft.scheduler, _noise(draft, sampling, generator))
        return draft
    _skip_by_strength(draft, sampling)
    if canvas.mask is None:
        _prepare_img2img(draft, canvas, sampling, generator)
    else:
        _prepare_inpaint(draft, canvas, sampling, generator)
    return draft


def _kind(canvas: Canvas | None) -> str:
    if canvas is None:
        return TXT2IMG
    return IMG2IMG if canvas.mask is None else INPAINT


@torch.inference_mode()
def continue_from(
    checkpoint: Checkpoint,
    sampling: Sampling,
    size: Size,
    conditioning: Conditioning,
    latents: torch.Tensor,
    denoising_start: float,
) -> DenoisingToImage:
    """Continue from ``latents`` that another model denoised up to ``denoising_start``; no noise is added.

    The timesteps are chosen as ``StableDiffusionXLImg2ImgPipeline`` does for ``denoising_start``.

    Args:
        size: width and height in pixels.
        denoising_start: the share of the noise schedule that is done, from 0 to 1.
    """
    draft = _draft(checkpoint, sampling, size, conditioning)
    generator = torch.Generator().manual_seed(sampling.seed)
    draft.options = step_options(draft.scheduler, generator)
    left = int((draft.timesteps < _cutoff(draft.scheduler, denoising_start)).sum())
    if draft.scheduler.order == 2 and left % 2 == 0:
        left += 1
    _skip_steps(draft, len(draft.timesteps) - left)
    draft.latents = latents.to(draft.latents)
    return draft


def end_early(denoising: DenoisingToImage, denoising_end: float) -> DenoisingToLatents:
    """The first part of ``denoising``, up to the share ``denoising_end`` of the noise schedule.

    Raises:
        DrawingFailed: one of the two parts would have no step.
    """
    taken = int((denoising.timesteps >= _cutoff(denoising.scheduler, denoising_end)).sum())
    if not 0 < taken < denoising.steps:
        message = f"refiner.start {denoising_end:g} leaves no step of {denoising.steps} for one of the two models"
        raise DrawingFailed(message, "refiner.start")
    state = {field.name: getattr(denoising, field.name) for field in fields(denoising)}
    return DenoisingToLatents(**state | {"timesteps": denoising.timesteps[:taken]})


def _cutoff(scheduler: NoiseScheduler, share: float) -> int:
    trained: int = scheduler.config.num_train_timesteps
    return round(trained - share * trained)


def _draft(checkpoint: Checkpoint, sampling: Sampling, size: Size, conditioning: Conditioning) -> DenoisingToImage:
    """A denoising with its timesteps set, its latents still empty."""
    pipeline, family = checkpoint.pipeline, checkpoint.family
    is_sdxl = family.name in (SDXL, SDXL_REFINER)
    scheduler = build_scheduler(sampling.sampler, pipeline.scheduler.config, sampling.seed, is_sdxl=is_sdxl)
    shape = family.latents_shape(pipeline, size)
    # The timesteps stay on the CPU, where reading one does not wait for the device.
    family.set_timesteps(pipeline, scheduler, sampling.num_inference_steps, shape)
    _begin_at(scheduler, 0)  # otherwise the scheduler looks for a timestep, which may be there twice
    return DenoisingToImage(
        checkpoint=checkpoint,
        size=size,
        scheduler=scheduler,
        options={},
        timesteps=scheduler.timesteps,
        latents=torch.empty(shape, dtype=conditioning.hidden_states.dtype, device=checkpoint.device),
        conditioning=conditioning,
        guidance_scale=sampling.guidance_scale,
        part_weights=sampling.part_weights,
    )


def _skip_by_strength(draft: Denoising, sampling: Sampling) -> None:
    """Skip the first steps, so that the share ``strength`` of all is left; at least the last one, as in A1111."""
    steps = sampling.num_inference_steps
    skipped = min(draft.checkpoint.family.skipped_steps(steps, sampling.strength), steps - 1)
    _skip_steps(draft, skipped * draft.scheduler.order)


def _skip_steps(draft: Denoising, first: int) -> None:
    draft.timesteps = draft.timesteps[first:]
    _begin_at(draft.scheduler, first)


def _begin_at(scheduler: Any, index: int) -> None:
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(index)


def _prepare_img2img(draft: Denoising, canvas: Canvas, sampling: Sampling, generator: torch.Generator) -> None:
    original = _encode(draft, _pixels(draft, canvas.image), generator)
    noise = _noise(draft, sampling, generator)
    draft.latents = draft.checkpoint.family.add_noise(draft.scheduler, original, noise, draft.timestep)


def _prepare_inpaint(draft: Denoising, canvas: Canvas, sampling: Sampling, generator: torch.Generator) -> None:
    family, pipeline = draft.checkpoint.family, draft.checkpoint.pipeline
    takes_mask = family.takes_mask(pipeline)
    pixels = _pixels(draft, canvas.image)
    pixel_mask = _mask(canvas)
    mask = interpolate(pixel_mask, size=family.latents_shape(pipeline, draft.size)[-2:]).to(draft.latents)
    from_noise = sampling.strength == 1.0
    original = draft.latents
    if not (takes_mask and from_noise):
        original = _filled(_encode(draft, pixels, generator), mask, canvas.fill, sampling.seed)
    noise = _noise(draft, sampling, generator)
    if from_noise:
        draft.latents = family.init_latents(draft.scheduler, noise)
    else:
        draft.latents = family.add_noise(draft.scheduler, original, noise, draft.timestep)
    # Always encoded, as in the plain pipeline: encoding takes random numbers from the generator.
    masked = _encode(draft, pixels * (pixel_mask < 0.5), generator)
    if takes_mask:
        draft.masked = torch.cat([mask, masked], dim=1)
    else:
        draft.blend = Blend(mask=mask, original=original, noise=noise)


def _filled(original: torch.Tensor, mask: torch.Tensor, fill: str, seed: int) -> torch.Tensor:
    """Fill the masked area of latents [1, C, h, w] as ``fill`` says; noise comes from a new generator with ``seed``."""
    match fill:
        case "latent_noise":
            noise = torch.randn(original.shape, generator=torch.Generator().manual_seed(seed)).to(original)
            return original * (1 - mask) + noise * mask
        case "latent_nothing":
            return original * (1 - mask)
        case _:
            return original


def _encode(draft: Denoising, pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return draft.checkpoint.to_latents(pixels, generator).to(draft.latents)


def _pixels(draft: Denoising, image: Image) -> torch.Tensor:
    """[1, 3, H, W], from -1 to 1, float32 on the CPU."""
    pixels: torch.Tensor = draft.checkpoint.pipeline.image_processor.preprocess(image)
    return pixels


def _mask(canvas: Canvas) -> torch.Tensor:
    """[1, 1, H, W], 0 or 1, float32 on the CPU."""
    levels = torch.from_numpy(np.array(canvas.mask, dtype=np.float32))[None, None] / 255
    return (levels >= 0.5).float()


def _noise(draft: Denoising, sampling: Sampling, generator: torch.Generator) -> torch.Tensor:
    """The initial noise of the image, of the latents' shape; the noise of a variation has a generator of its own."""
    noise, variation = _drawn(draft, generator), sampling.variation
    if variation is None or not variation.strength:
        return noise
    assert variation.seed is not None  # completing a request draws a seed that is left open
    other = _drawn(draft, torch.Generator().manual_seed(variation.seed))
    return slerp(noise, other, variation.strength)


def _drawn(draft: Denoising, generator: torch.Generator) -> torch.Tensor:
    """Normal noise of the latents' shape, drawn on the CPU so that every device gets the same."""
    checkpoint = draft.checkpoint
    return checkpoint.family.noise(checkpoint.pipeline, draft.size, generator, checkpoint.device, draft.latents.dtype)

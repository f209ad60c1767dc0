"""Everything before the first step: lay out the timesteps, encode what is drawn over, draw the noise, in this order.

The order is the plain pipelines' own, for the generator's numbers depend on it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from PIL.Image import Image
from torch.nn.functional import interpolate

from models.catalog.families import IMG2IMG, INPAINT, TXT2IMG
from models.diffusion.checkpoint import Checkpoint
from models.diffusion.denoiser import Conditioning
from models.diffusion.denoising import Blend, Denoising
from models.diffusion.sampling import Scheduler, build_scheduler, step_options
from models.errors import DrawingFailed


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How an image is sampled."""

    sampler: str
    num_inference_steps: int
    guidance_scale: float
    seed: int
    strength: float = 1.0


@dataclass(frozen=True)
class Canvas:
    """An image to draw over, and where; both of the size that is drawn."""

    image: Image
    """RGB."""
    mask: Image | None = None
    """L, light where it is drawn anew; ``None`` is everywhere."""
    fill: str = "original"
    """What the masked area starts from, one of :data:`models.jobs.params.FILLS`; "fill" is in the image already."""


@torch.inference_mode()
def begin(
    checkpoint: Checkpoint,
    sampling: Sampling,
    size: tuple[int, int],
    conditioning: Conditioning,
    canvas: Canvas | None = None,
    **further: Any,
) -> Denoising:
    """The image before its first step, from noise alone or over a canvas.

    Args:
        size: width and height in pixels.
        further: ControlNets, as :class:`Denoising` takes them.

    Raises:
        DrawingFailed: the model cannot do this, the sampler is unknown, or no step is left to be run.
        ValueError: the scheduler cannot take so many, or so few, steps.
    """
    problem = checkpoint.family.problem(checkpoint.pipeline, _kind(canvas), size)
    if problem is not None:
        raise DrawingFailed(problem)
    draft = _draft(checkpoint, sampling, size, conditioning, further)
    generator = torch.Generator().manual_seed(sampling.seed)
    draft.options = step_options(draft.scheduler, generator)
    if canvas is None:
        draft.latents = checkpoint.family.first_latents(draft.scheduler, _noise(draft, generator))
        return draft
    _skip(draft, sampling)
    if canvas.mask is None:
        return _over_image(draft, canvas, generator)
    return _over_mask(draft, canvas, sampling, generator)


def _kind(canvas: Canvas | None) -> str:
    if canvas is None:
        return TXT2IMG
    return IMG2IMG if canvas.mask is None else INPAINT


def go_on(
    checkpoint: Checkpoint,
    sampling: Sampling,
    size: tuple[int, int],
    conditioning: Conditioning,
    latents: torch.Tensor,
    start: float,
    **further: Any,
) -> Denoising:
    """What another model left at ``start``, a share of the noise taken away; no new noise is drawn.

    The timesteps are chosen as ``StableDiffusionXLImg2ImgPipeline`` does for ``denoising_start``.
    """
    draft = _draft(checkpoint, sampling, size, conditioning, further)
    generator = torch.Generator().manual_seed(sampling.seed)
    draft.options = step_options(draft.scheduler, generator)
    left = int((draft.timesteps < _cutoff(draft.scheduler, start)).sum())
    if draft.scheduler.order == 2 and left % 2 == 0:
        left += 1
    _begin_at(draft, len(draft.timesteps) - left)
    draft.latents = latents
    return draft


def stop_at(denoising: Denoising, end: float) -> Denoising:
    """The same, but only until the share ``end`` of the noise is taken away; its outcome is the latents."""
    taken = int((denoising.timesteps >= _cutoff(denoising.scheduler, end)).sum())
    if not 0 < taken < denoising.steps:
        raise DrawingFailed(f"of {denoising.steps} steps, none is left for one of the two models")
    return replace(denoising, timesteps=denoising.timesteps[:taken], keeps_latents=True)


def _cutoff(scheduler: Scheduler, share: float) -> int:
    trained: int = scheduler.config.num_train_timesteps
    return round(trained - share * trained)


def _draft(
    checkpoint: Checkpoint,
    sampling: Sampling,
    size: tuple[int, int],
    conditioning: Conditioning,
    further: dict[str, Any],
) -> Denoising:
    pipeline, family = checkpoint.pipeline, checkpoint.family
    scheduler = build_scheduler(sampling.sampler, pipeline.scheduler.config, sampling.seed)
    shape = family.latents_shape(pipeline, size)
    family.lay_out(pipeline, scheduler, sampling.num_inference_steps, shape)  # on the CPU: to look up waits for nobody
    return Denoising(
        checkpoint=checkpoint,
        size=size,
        scheduler=scheduler,
        options={},
        timesteps=scheduler.timesteps,
        latents=torch.empty(shape, dtype=conditioning.hidden_states.dtype, device=checkpoint.device),
        conditioning=conditioning,
        guidance_scale=sampling.guidance_scale,
        **further,
    )


def _skip(draft: Denoising, sampling: Sampling) -> None:
    """Leave out the first steps, by the strength."""
    steps = sampling.num_inference_steps
    skipped = draft.checkpoint.family.skipped_steps(steps, sampling.strength)
    if skipped >= steps:
        raise DrawingFailed(f"a strength of {sampling.strength:g} leaves none of {steps} steps")
    _begin_at(draft, skipped * draft.scheduler.order)


def _begin_at(draft: Denoising, first: int) -> None:
    draft.timesteps = draft.timesteps[first:]
    if hasattr(draft.scheduler, "set_begin_index"):
        draft.scheduler.set_begin_index(first)


def _over_image(draft: Denoising, canvas: Canvas, generator: torch.Generator) -> Denoising:
    original = _encode(draft, _pixels(draft, canvas.image), generator)
    noise = _noise(draft, generator)
    draft.latents = draft.checkpoint.family.add_noise(draft.scheduler, original, noise, draft.timestep)
    return draft


def _over_mask(draft: Denoising, canvas: Canvas, sampling: Sampling, generator: torch.Generator) -> Denoising:
    family, pipeline = draft.checkpoint.family, draft.checkpoint.pipeline
    takes_mask = family.takes_mask(pipeline)
    pixels = _pixels(draft, canvas.image)
    pixel_mask = _mask(canvas)
    mask = interpolate(pixel_mask, size=family.latents_shape(pipeline, draft.size)[-2:]).to(draft.latents)
    from_noise = sampling.strength == 1.0
    original = draft.latents
    if not (takes_mask and from_noise):
        original = _filled(_encode(draft, pixels, generator), mask, canvas.fill, sampling.seed)
    noise = _noise(draft, generator)
    if from_noise:
        draft.latents = family.first_latents(draft.scheduler, noise)
    else:
        draft.latents = family.add_noise(draft.scheduler, original, noise, draft.timestep)
    masked = _encode(draft, pixels * (pixel_mask < 0.5), generator)  # draws from the generator, wanted or not
    if takes_mask:
        draft.masked = torch.cat([mask, masked], dim=1)
    else:
        draft.blend = Blend(mask=mask, original=original, noise=noise)
    return draft


def _filled(original: torch.Tensor, mask: torch.Tensor, fill: str, seed: int) -> torch.Tensor:
    """Latents [1, C, h, w] with the masked area as ``fill`` has it; the noise is the seed's first."""
    match fill:
        case "latent_noise":
            noise = torch.randn(original.shape, generator=torch.Generator().manual_seed(seed)).to(original)
            return original * (1 - mask) + noise * mask
        case "latent_nothing":
            return original * (1 - mask)
        case _:
            return original


def _encode(draft: Denoising, pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    checkpoint = draft.checkpoint
    return checkpoint.family.to_latents(checkpoint.pipeline, pixels, generator).to(draft.latents)


def _pixels(draft: Denoising, image: Image) -> torch.Tensor:
    """[1, 3, H, W], -1..1, float32 on the CPU."""
    pixels: torch.Tensor = draft.checkpoint.pipeline.image_processor.preprocess(image)
    return pixels


def _mask(canvas: Canvas) -> torch.Tensor:
    """[1, 1, H, W], 0 or 1, float32 on the CPU."""
    levels = torch.from_numpy(np.array(canvas.mask, dtype=np.float32))[None, None] / 255
    return (levels >= 0.5).float()


def _noise(draft: Denoising, generator: torch.Generator) -> torch.Tensor:
    """Normal noise of the latents' shape, drawn on the CPU so that every device gets the same."""
    checkpoint = draft.checkpoint
    return checkpoint.family.noise(checkpoint.pipeline, draft.size, generator, checkpoint.device, draft.latents.dtype)

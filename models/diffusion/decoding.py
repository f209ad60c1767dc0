"""Decoding: from final latents to images."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from PIL.Image import Image

from models.diffusion.denoising import Denoising
from models.diffusion.failures import attempt, release_memory
from models.errors import DrawingFailed, JobFailure


def decode(batch: Sequence[Denoising]) -> list[Image | JobFailure]:
    """Decode the latents of ``batch``, whose group keys are equal, together; if that fails, one by one."""
    pixels = attempt(lambda: _pixels(batch))
    if not isinstance(pixels, JobFailure):
        return [attempt(partial(_image, each, one)) for each, one in zip(batch, pixels, strict=True)]
    if len(batch) == 1:
        return [pixels]
    release_memory(batch[0].checkpoint.device)
    return [image for each in batch for image in decode([each])]


def _pixels(batch: Sequence[Denoising]) -> Sequence[torch.Tensor]:
    checkpoint = batch[0].checkpoint
    latents = torch.cat([each.latents for each in batch])
    pixels = checkpoint.family.decode(checkpoint.pipeline, latents)
    return list(pixels[:, None])


def _image(denoising: Denoising, pixels: torch.Tensor) -> Image:
    if not (denoising.latents.isfinite().all() and pixels.isfinite().all()):
        raise DrawingFailed("the final latents or the decoded pixels are not finite numbers")
    image: Image = denoising.checkpoint.pipeline.image_processor.postprocess(pixels)[0]
    return image

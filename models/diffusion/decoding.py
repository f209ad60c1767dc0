"""Decoding: from final latents to images, within bounds of memory."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from PIL.Image import Image

from models.diffusion.denoising import Denoising
from models.diffusion.failures import attempt, release_memory
from models.errors import DrawingFailed, JobFailure, OutOfMemory

DECODED_MAX_BYTES = 24 << 20
"""The size of the RGB pixels decoded together, in the VAE's dtype: 2 megapixels in float32. A decoder's intermediate
results take some hundred times as much."""


def decode(batch: Sequence[Denoising]) -> list[Image | JobFailure]:
    """Decode the latents of ``batch``, whose group keys are equal, several together.

    Images that cannot be decoded together are decoded one by one. One that does not fit into the memory alone is
    decoded in tiles. If decoding in half precision overflows, it is repeated in float32.
    """
    size = _decoded_together(batch[0])
    return [image for first in range(0, len(batch), size) for image in _decode(batch[first : first + size])]


def _decoded_together(denoising: Denoising) -> int:
    width, height = denoising.size
    dtype: torch.dtype = denoising.checkpoint.pipeline.vae.dtype
    return max(1, DECODED_MAX_BYTES // (3 * width * height * dtype.itemsize))


def _decode(batch: Sequence[Denoising]) -> list[Image | JobFailure]:
    pixels = attempt(lambda: _pixels(batch))
    if not isinstance(pixels, JobFailure):
        return [attempt(partial(_image, each, one)) for each, one in zip(batch, pixels, strict=True)]
    release_memory(batch[0].checkpoint.device)
    if len(batch) > 1:
        return [image for each in batch for image in _decode([each])]
    if isinstance(pixels, OutOfMemory):
        return [attempt(lambda: _image(batch[0], _tiled_pixels(batch[0])))]
    return [pixels]


def _pixels(batch: Sequence[Denoising]) -> Sequence[torch.Tensor]:
    checkpoint = batch[0].checkpoint
    latents = torch.cat([each.latents for each in batch])
    pixels = checkpoint.family.decode(checkpoint.pipeline.vae, latents)
    return list(pixels[:, None])


def _tiled_pixels(denoising: Denoising) -> torch.Tensor:
    """Decode in overlapping tiles, which changes the image a little and takes the memory of one tile."""
    checkpoint = denoising.checkpoint
    vae: Any = copy.copy(checkpoint.pipeline.vae)  # shares all weights; the original goes on decoding at once
    vae.enable_tiling()
    return checkpoint.family.decode(vae, denoising.latents)


def _image(denoising: Denoising, pixels: torch.Tensor) -> Image:
    if not denoising.latents.isfinite().all():
        raise DrawingFailed("the final latents are not finite numbers")
    if not pixels.isfinite().all():
        pixels = _float32_pixels(denoising)
    image: Image = denoising.checkpoint.pipeline.image_processor.postprocess(pixels)[0]
    return image


def _float32_pixels(denoising: Denoising) -> torch.Tensor:
    """Decode in float32: some VAEs overflow in float16.

    Raises:
        DrawingFailed: the pixels are not finite numbers even then.
    """
    checkpoint = denoising.checkpoint
    vae = checkpoint.pipeline.vae
    if vae.dtype != torch.float32:
        pixels = checkpoint.family.decode(checkpoint.float32_vae, denoising.latents)
        if pixels.isfinite().all():
            return pixels
    raise DrawingFailed("the decoded pixels are not finite numbers")

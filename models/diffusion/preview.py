"""Previews: rough images of latents by a linear map, which costs almost no time."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from PIL.Image import Image
from torch.nn.functional import avg_pool2d, interpolate, pixel_shuffle, pixel_unshuffle

from models.diffusion.pipeline import Pipeline
from models.diffusion.rgb import to_image, to_levels
from models.diffusion.streams import to_host

Previewer = Callable[[torch.Tensor], list[Image]]
"""From noiseless latents [N, channels, h, w] to RGB images."""

Decode = Callable[[Any, torch.Tensor], torch.Tensor]
"""From a VAE and latents [N, channels, h, w] to RGB [N, 3, H, W], about -1 to 1."""

SHRINK = 2
"""The side of the image divided by the side of its preview."""


def build_previewer(pipeline: Pipeline, decode: Decode, device: torch.device) -> Previewer:
    """Build a previewer that uses a linear map; even a tiny autoencoder costs more than a row's part of a forward."""
    weights = fit_linear(pipeline, decode, device)

    def preview(latents: torch.Tensor) -> list[Image]:
        pixels = apply_linear(weights, latents).nan_to_num()
        return [to_image(levels) for levels in to_host(to_levels(pipeline.image_processor, pixels))]

    return preview


def fit_linear(pipeline: Pipeline, decode: Decode, device: torch.device) -> torch.Tensor:
    """Fit the linear map [channels + 1, 3 * side**2] from one latent and a constant 1 to ``side`` x ``side`` pixels.

    The map is fitted by least squares to random latents and their decoded pixels. The latents are constant over blocks
    of 2 x 2, since neighbouring latents of images are similar.
    """
    vae = pipeline.vae
    blocks = torch.randn(2, vae.config.latent_channels, 8, 8, generator=torch.Generator().manual_seed(0))
    latents = interpolate(blocks, scale_factor=2.0).to(device, vae.dtype)
    pixels = avg_pool2d(decode(vae, latents).float().clamp(-1, 1), SHRINK)
    patches = pixel_unshuffle(pixels, pipeline.vae_scale_factor // SHRINK)
    weights: torch.Tensor = torch.linalg.lstsq(_with_constant(latents), _flat(patches)).solution
    return weights


def apply_linear(weights: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
    """Latents [N, channels, h, w] to RGB [N, 3, h * side, w * side] by a map that :func:`fit_linear` returned."""
    count, _, height, width = latents.shape
    patches = (_with_constant(latents) @ weights).reshape(count, height, width, -1).permute(0, 3, 1, 2)
    return pixel_shuffle(patches, math.isqrt(patches.shape[1] // 3))


def _with_constant(latents: torch.Tensor) -> torch.Tensor:
    """[N, channels, h, w] to [N * h * w, channels + 1]."""
    flat = _flat(latents.float())
    return torch.cat([flat, torch.ones_like(flat[:, :1])], dim=1)


def _flat(planes: torch.Tensor) -> torch.Tensor:
    """[N, channels, h, w] to [N * h * w, channels]."""
    return planes.permute(0, 2, 3, 1).flatten(0, 2)

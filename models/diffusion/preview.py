"""Previews: a rough look at latents that are not finished yet, at next to no cost."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from PIL.Image import Image
from torch.nn.functional import avg_pool2d, interpolate, pixel_shuffle, pixel_unshuffle

from models.diffusion.pipeline import Pipeline

Previewer = Callable[[torch.Tensor], Image]
"""Takes noiseless latents [1, channels, h, w], gives an RGB image."""

Decode = Callable[[Pipeline, torch.Tensor], torch.Tensor]
"""Takes latents [N, channels, h, w], gives RGB [N, 3, H, W], about -1..1."""

SHRINK = 2
"""How many times smaller a preview is than the image, along one side."""


def build_previewer(pipeline: Pipeline, decode: Decode) -> Previewer:
    """Previews by a linear map; even a tiny autoencoder would cost more than a row's share of a forward."""
    weights = fit_linear(pipeline, decode)

    def preview(latents: torch.Tensor) -> Image:
        pixels = apply_linear(weights, latents).nan_to_num()
        image: Image = pipeline.image_processor.postprocess(pixels)[0]
        return image

    return preview


def fit_linear(pipeline: Pipeline, decode: Decode) -> torch.Tensor:
    """The map [channels + 1, 3 * side**2] from a latent, and a constant 1, to ``side`` x ``side`` pixels of a preview.

    Fitted by least squares on decoded random latents that are even over blocks of 2 x 2, as images mostly are.
    """
    vae = pipeline.vae
    blocks = torch.randn(2, vae.config.latent_channels, 8, 8, generator=torch.Generator().manual_seed(0))
    latents = interpolate(blocks, scale_factor=2.0).to(vae.device, vae.dtype)
    pixels = avg_pool2d(decode(pipeline, latents).float().clamp(-1, 1), SHRINK)
    patches = pixel_unshuffle(pixels, pipeline.vae_scale_factor // SHRINK)
    weights: torch.Tensor = torch.linalg.lstsq(_with_constant(latents), _flat(patches)).solution
    return weights


def apply_linear(weights: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
    """Latents [1, channels, h, w] to RGB [1, 3, h * side, w * side] by the map that :func:`fit_linear` gave."""
    height, width = latents.shape[-2:]
    patches = (_with_constant(latents) @ weights).T.reshape(1, -1, height, width)
    return pixel_shuffle(patches, math.isqrt(patches.shape[1] // 3))


def _with_constant(latents: torch.Tensor) -> torch.Tensor:
    """[N, channels, h, w] to [N * h * w, channels + 1]."""
    flat = _flat(latents.float())
    return torch.cat([flat, torch.ones_like(flat[:, :1])], dim=1)


def _flat(planes: torch.Tensor) -> torch.Tensor:
    """[N, channels, h, w] to [N * h * w, channels]."""
    return planes.permute(0, 2, 3, 1).flatten(0, 2)

"""Previews: a rough look at latents that are not finished yet, at next to no cost."""

from __future__ import annotations

from collections.abc import Callable

import torch
from diffusers import AutoencoderTiny
from PIL.Image import Image
from torch.nn.functional import avg_pool2d, interpolate

from models.diffusion.pipeline import Pipeline, decode

Previewer = Callable[[torch.Tensor], Image]
"""Takes noiseless latents [1, channels, h, w], gives an RGB picture."""


def build_previewer(pipeline: Pipeline) -> Previewer:
    """The cheapest good preview: a tiny autoencoder itself, in full size; else a linear map, one pixel a latent."""
    if isinstance(pipeline.vae, AutoencoderTiny):
        return lambda latents: _as_picture(pipeline, decode(pipeline, latents))
    weights = fit_linear(pipeline)
    return lambda latents: _as_picture(pipeline, apply_linear(weights, latents))


def fit_linear(pipeline: Pipeline) -> torch.Tensor:
    """The map [channels + 1, 3] from a latent, and a constant 1, to the mean colour of the pixels it decodes to.

    Fitted by least squares on four decoded random latents that are even over blocks of 2 x 2, as pictures mostly are.
    """
    vae = pipeline.vae
    blocks = torch.randn(4, vae.config.latent_channels, 4, 4, generator=torch.Generator().manual_seed(0))
    latents = interpolate(blocks, scale_factor=2.0).to(vae.device, vae.dtype)
    colours = avg_pool2d(decode(pipeline, latents).float(), pipeline.vae_scale_factor)
    weights: torch.Tensor = torch.linalg.lstsq(_with_constant(latents), _with_constant(colours)[:, :3]).solution
    return weights


def apply_linear(weights: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
    """Latents [1, channels, h, w] to RGB [1, 3, h, w] by the map that :func:`fit_linear` gave."""
    height, width = latents.shape[-2:]
    return (_with_constant(latents) @ weights).T.reshape(1, 3, height, width)


def _with_constant(planes: torch.Tensor) -> torch.Tensor:
    """[N, channels, h, w] to [N * h * w, channels + 1]."""
    flat = planes.float().permute(0, 2, 3, 1).flatten(0, 2)
    return torch.cat([flat, torch.ones_like(flat[:, :1])], dim=1)


def _as_picture(pipeline: Pipeline, pixels: torch.Tensor) -> Image:
    picture: Image = pipeline.image_processor.postprocess(pixels.nan_to_num())[0]
    return picture

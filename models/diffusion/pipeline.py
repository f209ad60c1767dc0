"""What the engine uses of a diffusers pipeline, and the steps that every family takes alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch


class Pipeline(Protocol):
    """A diffusers pipeline, as far as the engine uses it. Many rows share it: nobody changes or calls it."""

    unet: Any
    vae: Any
    text_encoder: Any
    text_encoder_2: Any
    """SDXL's."""
    scheduler: Any
    """Only its ``config`` is used: schedulers hold state, so each row has its own."""
    image_processor: Any
    vae_scale_factor: int
    """Pixels along one side of a latent."""

    encode_prompt: Callable[..., tuple[torch.Tensor, ...]]
    """Takes prompts, gives their embeddings; each family's is different."""

    def get_guidance_scale_embedding(self, w: torch.Tensor, embedding_dim: int) -> torch.Tensor:
        """The sinusoidal embedding [N, embedding_dim] of guidance scales less one [N]."""


def decode(pipeline: Pipeline, latents: torch.Tensor) -> torch.Tensor:
    """Latents [N, channels, h, w] to RGB [N, 3, H, W], about -1..1, exactly as the pipeline's plain call does."""
    vae = pipeline.vae
    pixels: torch.Tensor = vae.decode(_unscaled(latents.to(vae.dtype), vae.config), return_dict=False)[0]
    return pixels


def _unscaled(latents: torch.Tensor, config: Any) -> torch.Tensor:
    """Latents as the VAE knows them; for some of SDXL's they have a mean and a deviation for each channel."""
    scale: float = config.scaling_factor
    statistics = [getattr(config, name, None) for name in ("latents_mean", "latents_std")]
    if None in statistics:
        return latents / scale
    mean, deviation = (torch.tensor(each).view(1, -1, 1, 1).to(latents) for each in statistics)
    return latents * deviation / scale + mean


def is_guided(pipeline: Pipeline, guidance_scale: float) -> bool:
    """Whether a picture takes two inputs, for classifier-free guidance; distilled UNets do without the second."""
    return guidance_scale > 1 and pipeline.unet.config.time_cond_proj_dim is None


def embed_guidance(pipeline: Pipeline, guidance_scale: float, like: torch.Tensor) -> torch.Tensor | None:
    """The guidance scale as distilled UNets take it [1, width], dtype and device those of ``like``; else ``None``."""
    width = pipeline.unet.config.time_cond_proj_dim
    if width is None:
        return None
    return pipeline.get_guidance_scale_embedding(torch.tensor([guidance_scale - 1]), embedding_dim=width).to(like)

"""The part of a diffusers pipeline that the engine uses, and the guidance scale as an input of its UNet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch


class Pipeline(Protocol):
    """The part of a diffusers pipeline that the engine uses. Many rows share it; it must not be changed or called."""

    unet: Any
    transformer: Any
    """The denoiser of FLUX and Stable Diffusion 3, which have no UNet."""
    vae: Any
    text_encoder: Any
    text_encoder_2: Any
    text_encoder_3: Any
    tokenizer: Any
    tokenizer_2: Any
    tokenizer_3: Any
    scheduler: Any
    """Only its ``config`` is used: a scheduler holds state, so each row has its own."""
    image_processor: Any
    components: dict[str, Any]
    vae_scale_factor: int
    """The side of one latent in pixels."""

    encode_prompt: Callable[..., tuple[torch.Tensor, ...]]
    """Encodes prompts; arguments and results depend on the family."""

    def get_guidance_scale_embedding(self, w: torch.Tensor, embedding_dim: int) -> torch.Tensor:
        """The sinusoidal embedding [N, embedding_dim] of ``w`` [N], which are guidance scales minus 1."""


def is_guided(pipeline: Pipeline, guidance_scale: float) -> bool:
    """Whether an image takes two inputs, for classifier-free guidance; distilled UNets take one."""
    return guidance_scale > 1 and pipeline.unet.config.time_cond_proj_dim is None


def embed_guidance(pipeline: Pipeline, guidance_scale: float, like: torch.Tensor) -> torch.Tensor | None:
    """The guidance scale as an input of a distilled UNet [1, width]; ``None`` for other UNets.

    Dtype and device are those of ``like``.
    """
    width = pipeline.unet.config.time_cond_proj_dim
    if width is None:
        return None
    return pipeline.get_guidance_scale_embedding(torch.tensor([guidance_scale - 1]), embedding_dim=width).to(like)

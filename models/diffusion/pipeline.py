"""The part of a diffusers pipeline that the engine uses, and the guidance scale as an input of its UNet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch

from models.errors import DrawingFailed


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


def is_guided(pipeline: Pipeline, guidance_scale: float, is_composed: bool) -> bool:
    """Whether an image takes the negative prompt's input besides the prompts', for classifier-free guidance.

    Distilled UNets take one input. A composed prompt is always guided; a scale below 1 counts as 1.

    Raises:
        DrawingFailed: the prompt is composed, and the UNet is distilled.
    """
    is_distilled = pipeline.unet.config.time_cond_proj_dim is not None
    if is_composed and is_distilled:
        raise DrawingFailed("this model cannot compose prompts by AND: it was distilled to draw without guidance")
    return not is_distilled and (guidance_scale > 1 or is_composed)


def embed_guidance(pipeline: Pipeline, guidance_scale: float, like: torch.Tensor) -> torch.Tensor | None:
    """The guidance scale as an input of a distilled UNet [1, width]; ``None`` for other UNets.

    Dtype and device are those of ``like``.
    """
    width = pipeline.unet.config.time_cond_proj_dim
    if width is None:
        return None
    return pipeline.get_guidance_scale_embedding(torch.tensor([guidance_scale - 1]), embedding_dim=width).to(like)

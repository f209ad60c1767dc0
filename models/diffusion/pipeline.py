"""What the engine uses of a diffusers pipeline, and how the guidance scale gets into its UNet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch


class Pipeline(Protocol):
    """A diffusers pipeline, as far as the engine uses it. Many rows share it: nobody changes or calls it."""

    unet: Any
    transformer: Any
    """In place of the UNet, FLUX's and Stable Diffusion 3's."""
    vae: Any
    text_encoder: Any
    text_encoder_2: Any
    text_encoder_3: Any
    tokenizer: Any
    tokenizer_2: Any
    tokenizer_3: Any
    scheduler: Any
    """Only its ``config`` is used: schedulers hold state, so each row has its own."""
    image_processor: Any
    components: dict[str, Any]
    vae_scale_factor: int
    """Pixels along one side of a latent."""

    encode_prompt: Callable[..., tuple[torch.Tensor, ...]]
    """Takes prompts, gives their embeddings; each family's is different."""

    def get_guidance_scale_embedding(self, w: torch.Tensor, embedding_dim: int) -> torch.Tensor:
        """The sinusoidal embedding [N, embedding_dim] of guidance scales less one [N]."""


def is_guided(pipeline: Pipeline, guidance_scale: float) -> bool:
    """Whether an image takes two inputs, for classifier-free guidance; distilled UNets do without the second."""
    return guidance_scale > 1 and pipeline.unet.config.time_cond_proj_dim is None


def embed_guidance(pipeline: Pipeline, guidance_scale: float, like: torch.Tensor) -> torch.Tensor | None:
    """The guidance scale as distilled UNets take it [1, width], dtype and device those of ``like``; else ``None``."""
    width = pipeline.unet.config.time_cond_proj_dim
    if width is None:
        return None
    return pipeline.get_guidance_scale_embedding(torch.tensor([guidance_scale - 1]), embedding_dim=width).to(like)

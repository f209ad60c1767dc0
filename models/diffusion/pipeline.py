"""What the engine uses of a diffusers pipeline, and its decoding step."""

from __future__ import annotations

from typing import Any, Protocol

import torch


class Pipeline(Protocol):
    """A ``StableDiffusionPipeline``, as far as the engine uses it. Many rows share it: nobody changes or calls it."""

    unet: Any
    vae: Any
    text_encoder: Any
    scheduler: Any
    """Only its ``config`` is used: schedulers hold state, so each row has its own."""
    image_processor: Any
    vae_scale_factor: int
    """Pixels along one side of a latent."""

    def encode_prompt(
        self, prompt: str, device: torch.device, num_images_per_prompt: int, do_classifier_free_guidance: bool,
        negative_prompt: str, /,
    ) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
        """Hidden states [1, tokens, width] of the prompt, and of the negative prompt if there is guidance."""

    def get_guidance_scale_embedding(self, w: torch.Tensor, embedding_dim: int) -> torch.Tensor:
        """The sinusoidal embedding [N, embedding_dim] of guidance scales less one [N]."""


def decode(pipeline: Pipeline, latents: torch.Tensor) -> torch.Tensor:
    """Latents [N, channels, h, w] to RGB [N, 3, H, W], about -1..1, exactly as ``StableDiffusionPipeline`` does."""
    pixels: torch.Tensor = pipeline.vae.decode(latents / pipeline.vae.config.scaling_factor, return_dict=False)[0]
    return pixels

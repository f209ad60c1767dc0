"""Stable Diffusion XL, the base model: two text encoders, and a UNet that is told the picture's size."""

from __future__ import annotations

from types import MappingProxyType

import torch
from diffusers import StableDiffusionXLPipeline

from models.diffusion.denoiser import Conditioning
from models.diffusion.families.family import Family, Wording
from models.diffusion.pipeline import Pipeline, embed_guidance, is_guided
from models.diffusion.text import TextEncoding, encode_clip

SIZE_NUMBERS = 6
"""How many numbers tell the UNet of sizes: the original's, the crop's corner, the target's, two each."""


class StableDiffusionXL(Family):
    """As ``StableDiffusionXLPipeline``."""

    pipeline_class = StableDiffusionXLPipeline
    options = MappingProxyType({"feature_extractor": None, "add_watermarker": False})

    def misfit(self, pipeline: Pipeline) -> str | None:
        """Judged by the inputs that the UNet wants beside the hidden states."""
        config = pipeline.unet.config
        if config.addition_embed_type in (None, "text"):
            return 'this is a Stable Diffusion pipeline; set family = "stable-diffusion"'
        if config.addition_embed_type != "text_time":
            return f"its UNet wants further inputs ({config.addition_embed_type})"
        if pipeline.text_encoder is None:
            return 'it has no first text encoder; if it is a refiner, set family = "sdxl-refiner"'
        if pipeline.text_encoder_2 is None:
            return "it has no second text encoder"
        wanted = config.projection_class_embeddings_input_dim
        given = pipeline.text_encoder_2.config.projection_dim + SIZE_NUMBERS * config.addition_time_embed_dim
        return None if wanted == given else f"its UNet takes {wanted} further inputs, not {given}; is it a refiner?"

    def prepare(self, pipeline: Pipeline) -> None:
        """Keep a VAE that overflows in float16 in float32; the plain pipeline moves it to and fro for each picture."""
        if pipeline.vae.dtype == torch.float16 and pipeline.vae.config.force_upcast:
            pipeline.vae.to(torch.float32)

    def encode(self, pipeline: Pipeline, wording: Wording, size: tuple[int, int], device: torch.device) -> Conditioning:
        """The prompts' hidden states, their pooled embeddings and the size, each the negative prompt's first.

        An empty negative prompt is none: where the checkpoint was trained so (``force_zeros_for_empty_prompt``, as
        SDXL itself was), its embeddings are zeros and not those of an empty text. A ticket always holds a text, so
        that the two cannot be told apart, and most requests leave it out: this is what ``StableDiffusionXLPipeline``
        does for those.
        """
        guided = is_guided(pipeline, wording.guidance_scale)
        encodings = encode_clip(
            pipeline,
            [wording.negative_prompt or None, wording.prompt] if guided else [wording.prompt],
            clip_skip=wording.clip_skip,
            embeddings=wording.embeddings,
            device=device,
        )
        states = torch.cat([each.hidden_states for each in encodings])
        numbers = self.size_numbers(size)
        further = {"text_embeds": pooled(encodings), "time_ids": numbers.to(states).expand(len(states), -1)}
        return Conditioning(states, embed_guidance(pipeline, wording.guidance_scale, states), further)

    def size_numbers(self, size: tuple[int, int]) -> torch.Tensor:
        """[1, 6]: nothing scaled, nothing cropped (arXiv 2307.01952, section 2.2)."""
        width, height = size
        return torch.tensor([[height, width, 0, 0, height, width]])


def pooled(encodings: tuple[TextEncoding, ...]) -> torch.Tensor:
    """The pooled embeddings of all prompts [N, width]."""
    return torch.cat([each.pooled for each in encodings if each.pooled is not None])


FAMILY = StableDiffusionXL()

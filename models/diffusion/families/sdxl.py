"""Stable Diffusion XL, the base model: two text encoders, and a UNet that is told the image's size."""

from __future__ import annotations

from types import MappingProxyType

import torch
from diffusers import StableDiffusionXLPipeline

from models.catalog.families import SDXL
from models.diffusion.denoiser import Conditioning
from models.diffusion.families.family import Family, Wording
from models.diffusion.pipeline import Pipeline, embed_guidance, is_guided
from models.diffusion.text import TextEncoding, encode_clip


class StableDiffusionXL(Family):
    """As ``StableDiffusionXLPipeline``."""

    name = SDXL
    pipeline_class = StableDiffusionXLPipeline
    has_first_encoder = True
    other = 'is it a refiner? then set family = "sdxl-refiner"'
    """What a pipeline may be that is none of this family."""
    options = MappingProxyType({"feature_extractor": None, "add_watermarker": False})

    def misfit(self, pipeline: Pipeline) -> str | None:
        """Judged by the inputs that the UNet wants beside the hidden states."""
        config = pipeline.unet.config
        if config.addition_embed_type in (None, "text"):
            return 'this is a Stable Diffusion pipeline; set family = "stable-diffusion"'
        if config.addition_embed_type != "text_time":
            return f"its UNet wants further inputs ({config.addition_embed_type})"
        if pipeline.text_encoder_2 is None:
            return "it has no second text encoder"
        if (pipeline.text_encoder is None) == self.has_first_encoder:
            return f"it has {'no' if self.has_first_encoder else 'a'} first text encoder; {self.other}"
        wanted = config.projection_class_embeddings_input_dim
        numbers = self.size_numbers((0, 0), 1).shape[1]
        given = pipeline.text_encoder_2.config.projection_dim + numbers * config.addition_time_embed_dim
        return None if wanted == given else f"its UNet takes {wanted} further inputs, not {given}; {self.other}"

    def prepare(self, pipeline: Pipeline) -> None:
        """Keep a VAE that overflows in float16 in float32; the plain pipeline moves it to and fro for each image."""
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
        further = {"text_embeds": pooled(encodings), "time_ids": self.size_numbers(size, len(states)).to(states)}
        return Conditioning(states, embed_guidance(pipeline, wording.guidance_scale, states), further)

    def size_numbers(self, size: tuple[int, int], inputs: int) -> torch.Tensor:
        """[inputs, 6]: nothing scaled, nothing cropped (arXiv 2307.01952, section 2.2)."""
        width, height = size
        return torch.tensor([[height, width, 0, 0, height, width]] * inputs)


def pooled(encodings: tuple[TextEncoding, ...]) -> torch.Tensor:
    """The pooled embeddings of all prompts [N, width]."""
    return torch.cat([each.pooled for each in encodings if each.pooled is not None])


FAMILY = StableDiffusionXL()

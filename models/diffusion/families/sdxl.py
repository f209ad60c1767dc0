"""Stable Diffusion XL, the base model: two text encoders, and a UNet that takes the image size as an input."""

from __future__ import annotations

from types import MappingProxyType

import torch
from diffusers import StableDiffusionXLPipeline

from models.catalog.families import SDXL
from models.diffusion.denoiser import Conditioning
from models.diffusion.families.family import Family
from models.diffusion.pipeline import Pipeline, embed_guidance, is_guided
from models.diffusion.prompt_inputs import PromptInputs
from models.diffusion.text import TextEncoding, encode_clip


class StableDiffusionXL(Family):
    """As ``StableDiffusionXLPipeline``."""

    name = SDXL
    pipeline_class = StableDiffusionXLPipeline
    has_first_encoder = True
    other_family = 'is it a refiner? then set family = "sdxl-refiner"'
    """Advice for a pipeline that is not of this family."""
    options = MappingProxyType({"feature_extractor": None, "add_watermarker": False})

    def validate(self, pipeline: Pipeline) -> str | None:
        """See :meth:`Family.validate`; the UNet's further inputs tell the families apart."""
        config = pipeline.unet.config
        if config.addition_embed_type in (None, "text"):
            return 'this is a Stable Diffusion pipeline; set family = "stable-diffusion"'
        if config.addition_embed_type != "text_time":
            return f"its UNet takes unknown further inputs ({config.addition_embed_type})"
        if pipeline.text_encoder_2 is None:
            return "it has no second text encoder"
        if (pipeline.text_encoder is None) == self.has_first_encoder:
            return f"it has {'no' if self.has_first_encoder else 'a'} first text encoder; {self.other_family}"
        taken = config.projection_class_embeddings_input_dim
        numbers = self.size_numbers((0, 0), 1).shape[1]
        given = pipeline.text_encoder_2.config.projection_dim + numbers * config.addition_time_embed_dim
        return None if taken == given else f"its UNet takes {taken} further inputs, not {given}; {self.other_family}"

    def prepare(self, pipeline: Pipeline) -> None:
        """Keep a VAE that overflows in float16 in float32; the plain pipeline converts it for each image."""
        if pipeline.vae.dtype == torch.float16 and pipeline.vae.config.force_upcast:
            pipeline.vae.to(torch.float32)

    def encode(
        self, pipeline: Pipeline, inputs: PromptInputs, size: tuple[int, int], device: torch.device
    ) -> Conditioning:
        """The prompts' hidden states, their pooled embeddings and the size, the negative prompt's first.

        An empty negative prompt counts as no negative prompt. Where the checkpoint was trained with zeros for it
        (``force_zeros_for_empty_prompt``, as SDXL itself was), its embeddings are zeros and not those of an empty text,
        as in ``StableDiffusionXLPipeline`` without a negative prompt. A ticket cannot distinguish the two cases, and
        most requests leave the negative prompt out.
        """
        guided = is_guided(pipeline, inputs.guidance_scale, inputs.is_composed)
        encodings = encode_clip(
            pipeline,
            [inputs.negative_prompt or None, *inputs.prompts] if guided else inputs.prompts,
            clip_skip=inputs.clip_skip,
            embeddings=inputs.embeddings,
            device=device,
        )
        states = torch.cat([each.hidden_states for each in encodings])
        extra_kwargs = {"text_embeds": pooled(encodings), "time_ids": self.size_numbers(size, len(states)).to(states)}
        return Conditioning(states, embed_guidance(pipeline, inputs.guidance_scale, states), extra_kwargs)

    def size_numbers(self, size: tuple[int, int], inputs: int) -> torch.Tensor:
        """The ``time_ids`` [inputs, 6] of an image neither scaled nor cropped (arXiv 2307.01952, section 2.2)."""
        width, height = size
        return torch.tensor([[height, width, 0, 0, height, width]] * inputs)


def pooled(encodings: tuple[TextEncoding, ...]) -> torch.Tensor:
    """The pooled embeddings [N, width] of all prompts."""
    return torch.cat([each.pooled for each in encodings if each.pooled is not None])


FAMILY = StableDiffusionXL()

"""Stable Diffusion 1.x, 2.x and models built like them: one text encoder, whose hidden states are the conditioning."""

from __future__ import annotations

from types import MappingProxyType

import torch
from diffusers import StableDiffusionPipeline

from models.catalog.families import STABLE_DIFFUSION
from models.diffusion.denoiser import Conditioning
from models.diffusion.families.family import Family
from models.diffusion.pipeline import Pipeline, embed_guidance, is_guided
from models.diffusion.prompt_inputs import PromptInputs
from models.diffusion.text import encode_clip


class StableDiffusion(Family):
    """As ``StableDiffusionPipeline``."""

    name = STABLE_DIFFUSION
    pipeline_class = StableDiffusionPipeline
    options = MappingProxyType({"safety_checker": None, "requires_safety_checker": False, "feature_extractor": None})

    def validate(self, pipeline: Pipeline) -> str | None:
        """See :meth:`Family.validate`; the UNet's further inputs tell the families apart."""
        match pipeline.unet.config.addition_embed_type:
            case None | "text":
                return None
            case "text_time":
                return 'this is an SDXL pipeline; set family = "sdxl"'
            case other:
                return f"its UNet takes unknown further inputs ({other})"

    def encode(
        self, pipeline: Pipeline, inputs: PromptInputs, size: tuple[int, int], device: torch.device
    ) -> Conditioning:
        """The prompts' hidden states, the negative prompt's first; the size has no effect."""
        guided = is_guided(pipeline, inputs.guidance_scale, inputs.is_composed)
        encodings = encode_clip(
            pipeline,
            [inputs.negative_prompt, *inputs.prompts] if guided else inputs.prompts,
            clip_skip=inputs.clip_skip,
            embeddings=inputs.embeddings,
            device=device,
        )
        states = torch.cat([each.hidden_states for each in encodings])
        return Conditioning(states, embed_guidance(pipeline, inputs.guidance_scale, states))


FAMILY = StableDiffusion()

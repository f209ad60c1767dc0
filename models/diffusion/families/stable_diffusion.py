"""Stable Diffusion 1.x and 2.x, and what is built like them: one text encoder, whose hidden states say it all."""

from __future__ import annotations

from types import MappingProxyType

import torch
from diffusers import StableDiffusionPipeline

from models.catalog.families import STABLE_DIFFUSION
from models.diffusion.denoiser import Conditioning
from models.diffusion.families.family import Family, Wording
from models.diffusion.pipeline import Pipeline, embed_guidance, is_guided
from models.diffusion.text import encode_clip


class StableDiffusion(Family):
    """As ``StableDiffusionPipeline``."""

    name = STABLE_DIFFUSION
    pipeline_class = StableDiffusionPipeline
    options = MappingProxyType({"safety_checker": None, "requires_safety_checker": False, "feature_extractor": None})

    def misfit(self, pipeline: Pipeline) -> str | None:
        """Judged by the inputs that the UNet wants beside the hidden states."""
        match pipeline.unet.config.addition_embed_type:
            case None | "text":
                return None
            case "text_time":
                return 'this is an SDXL pipeline; set family = "sdxl"'
            case other:
                return f"its UNet wants further inputs ({other})"

    def encode(self, pipeline: Pipeline, wording: Wording, size: tuple[int, int], device: torch.device) -> Conditioning:
        """The prompts' hidden states, the negative one's first; the size is nothing that this family is told."""
        guided = is_guided(pipeline, wording.guidance_scale)
        encodings = encode_clip(
            pipeline,
            [wording.negative_prompt, wording.prompt] if guided else [wording.prompt],
            clip_skip=wording.clip_skip,
            embeddings=wording.embeddings,
            device=device,
        )
        states = torch.cat([each.hidden_states for each in encodings])
        return Conditioning(states, embed_guidance(pipeline, wording.guidance_scale, states))


FAMILY = StableDiffusion()

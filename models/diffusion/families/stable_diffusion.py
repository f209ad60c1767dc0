"""Stable Diffusion 1.x and 2.x, and what is built like them: one text encoder, whose hidden states say it all."""

from __future__ import annotations

import torch
from diffusers import StableDiffusionPipeline

from models.diffusion.denoiser import Conditioning
from models.diffusion.families.family import Family
from models.diffusion.pipeline import Pipeline, embed_guidance, is_guided
from models.params import Txt2ImgParams


def encode(pipeline: Pipeline, params: Txt2ImgParams, size: tuple[int, int], device: torch.device) -> Conditioning:
    """The prompts' hidden states, the negative one's first; the size is nothing that this family is told."""
    guided = is_guided(pipeline, params.guidance_scale)
    prompted, without = pipeline.encode_prompt(params.prompt, device, 1, guided, params.negative_prompt)
    states = torch.cat([without, prompted]) if guided else prompted
    return Conditioning(states, embed_guidance(pipeline, params.guidance_scale, states))


def misfit(pipeline: Pipeline) -> str | None:
    """Judged by the inputs that the UNet wants beside the hidden states."""
    match pipeline.unet.config.addition_embed_type:
        case None | "text":
            return None
        case "text_time":
            return 'this is an SDXL pipeline; set family = "sdxl"'
        case other:
            return f"its UNet wants further inputs ({other})"


def prepare(pipeline: Pipeline) -> None:
    """Nothing: the VAE decodes in the dtype it came in, as ``StableDiffusionPipeline`` has it."""


FAMILY = Family(
    pipeline_class=StableDiffusionPipeline,
    options={"safety_checker": None, "requires_safety_checker": False, "feature_extractor": None},
    misfit=misfit,
    prepare=prepare,
    encode=encode,
)

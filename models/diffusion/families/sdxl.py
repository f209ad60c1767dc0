"""Stable Diffusion XL, the base model: two text encoders, and a UNet that is told the picture's size."""

from __future__ import annotations

import torch
from diffusers import StableDiffusionXLPipeline

from models.diffusion.denoiser import Conditioning
from models.diffusion.families.family import Family
from models.diffusion.pipeline import Pipeline, embed_guidance, is_guided
from models.params import Txt2ImgParams

SIZE_NUMBERS = 6
"""How many numbers tell the UNet of sizes: the original's, the crop's corner, the target's, two each."""


def encode(pipeline: Pipeline, params: Txt2ImgParams, size: tuple[int, int], device: torch.device) -> Conditioning:
    """The prompts' hidden states, their pooled embeddings and the size, each the negative prompt's first.

    An empty negative prompt is none: where the checkpoint was trained so (``force_zeros_for_empty_prompt``, as SDXL
    itself was), its embeddings are zeros and not those of an empty text. A ticket always holds a text, so that the two
    cannot be told apart, and most requests leave it out: this is what ``StableDiffusionXLPipeline`` does for those.
    """
    guided = is_guided(pipeline, params.guidance_scale)
    prompted, without, pooled, pooled_without = pipeline.encode_prompt(
        params.prompt, device=device, do_classifier_free_guidance=guided, negative_prompt=params.negative_prompt or None
    )
    states = torch.cat([without, prompted]) if guided else prompted
    text_embeds = torch.cat([pooled_without, pooled]) if guided else pooled
    further = {"text_embeds": text_embeds, "time_ids": _time_ids(size, states).expand(len(states), -1)}
    return Conditioning(states, embed_guidance(pipeline, params.guidance_scale, states), further)


def _time_ids(size: tuple[int, int], like: torch.Tensor) -> torch.Tensor:
    """[1, 6] of the dtype and on the device of ``like``: nothing scaled, nothing cropped (arXiv 2307.01952, 2.2)."""
    width, height = size
    return torch.tensor([[height, width, 0, 0, height, width]], dtype=like.dtype, device=like.device)


def misfit(pipeline: Pipeline) -> str | None:
    """Judged by the inputs that the UNet wants beside the hidden states."""
    config = pipeline.unet.config
    if config.addition_embed_type in (None, "text"):
        return 'this is a Stable Diffusion pipeline; set family = "stable-diffusion"'
    if config.addition_embed_type != "text_time":
        return f"its UNet wants further inputs ({config.addition_embed_type})"
    if pipeline.text_encoder_2 is None:
        return "it has no second text encoder"
    wanted = config.projection_class_embeddings_input_dim
    given = pipeline.text_encoder_2.config.projection_dim + SIZE_NUMBERS * config.addition_time_embed_dim
    return None if wanted == given else f"its UNet takes {wanted} further inputs, not {given}; is it a refiner?"


def prepare(pipeline: Pipeline) -> None:
    """Keep a VAE that overflows in float16 in float32; the plain pipeline takes it there and back for each picture."""
    if pipeline.vae.dtype == torch.float16 and pipeline.vae.config.force_upcast:
        pipeline.vae.to(torch.float32)


FAMILY = Family(
    pipeline_class=StableDiffusionXLPipeline,
    options={"feature_extractor": None, "add_watermarker": False},
    misfit=misfit,
    prepare=prepare,
    encode=encode,
)

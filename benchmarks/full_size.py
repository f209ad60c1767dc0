"""Stable Diffusion 1.5 and SDXL at full size with random weights, made in code: as fast as real ones, no wiser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    EulerDiscreteScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from models.catalog.catalog import Defaults, Limits, ModelSpec
from models.catalog.families import STABLE_DIFFUSION
from models.diffusion.checkpoint import Checkpoint
from models.diffusion.families.family import load_family

_SCHEDULE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
_VAE_BLOCKS = {
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
}
_TOKENS = 49408


def build(family: str, px: int, device: torch.device, dtype: torch.dtype) -> Checkpoint:
    """A checkpoint of ``family``, one of "stable-diffusion" and "sdxl", for images of ``px`` x ``px``."""
    torch.manual_seed(0)
    with torch.device(device):
        pipeline = (_sd15 if family == STABLE_DIFFUSION else _sdxl)()
    pipeline = pipeline.to(device, dtype)
    pipeline.set_progress_bar_config(disable=True)
    spec = ModelSpec(
        name=f"{family}-{px}",
        family=family,
        folder=Path("random"),
        defaults=Defaults(sampler="Euler", width=px, height=px, guidance_scale=7.0),
        limits=Limits(max_px=px),
    )
    loaded = load_family(family)
    eager = loaded.eager(pipeline)
    return Checkpoint(spec, loaded, pipeline, eager, eager, device, dtype)


def _sd15() -> Any:
    return StableDiffusionPipeline(
        vae=AutoencoderKL(**_VAE_BLOCKS, scaling_factor=0.18215),
        text_encoder=CLIPTextModel(_text_config(768, 3072, 12, 12)),
        tokenizer=_tokenizer(),
        unet=UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8),
        scheduler=EulerDiscreteScheduler(**_SCHEDULE),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _sdxl() -> Any:
    return StableDiffusionXLPipeline(
        vae=AutoencoderKL(**_VAE_BLOCKS, scaling_factor=0.13025),
        text_encoder=CLIPTextModel(_text_config(768, 3072, 12, 12)),
        text_encoder_2=CLIPTextModelWithProjection(_text_config(1280, 5120, 32, 20)),
        tokenizer=_tokenizer(),
        tokenizer_2=_tokenizer(),
        unet=UNet2DConditionModel(
            sample_size=128,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            block_out_channels=(320, 640, 1280),
            transformer_layers_per_block=(1, 2, 10),
            attention_head_dim=(5, 10, 20),
            cross_attention_dim=2048,
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=256,
            projection_class_embeddings_input_dim=2816,
        ),
        scheduler=EulerDiscreteScheduler(**_SCHEDULE),
        add_watermarker=False,
    )


def _text_config(width: int, inner_width: int, layers: int, heads: int) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=_TOKENS,
        hidden_size=width,
        intermediate_size=inner_width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        projection_dim=width,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )


def _tokenizer() -> CLIPTokenizer:
    """Letters as tokens, without merges: how many tokens there are is all that matters here."""
    letters = [chr(number) for number in range(33, 127)]
    names = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    tokenizer = CLIPTokenizer(vocab={name: number for number, name in enumerate(names)}, merges=[])
    tokenizer.model_max_length = 77
    return tokenizer

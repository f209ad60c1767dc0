"""Stable Diffusion 1.5 and SDXL at full size with random weights, made in code: as fast as real ones, no wiser."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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

_SCHEDULE: dict[str, Any] = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "steps_offset": 1,
}
_VAE_BLOCKS: dict[str, Any] = {
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
}
_TOKENS = 49408
_SMALL: dict[str, Any] = {"layers_per_block": 1, "norm_num_groups": 8, "attention_head_dim": 4}
_SMALL_TEXT = (32, 64, 2, 4)


def build(family: str, px: int, device: torch.device, dtype: torch.dtype, *, small: bool = False) -> Checkpoint:
    """A checkpoint of ``family``, one of "stable-diffusion" and "sdxl", for images of ``px`` x ``px``.

    The random weights are made on ``device`` in ``dtype``. With ``small``, the model has the same modules and blocks
    but few channels, for tests on a CPU.
    """
    torch.manual_seed(0)
    with torch.device(device), _default_dtype(dtype):
        pipeline = (_sd15 if family == STABLE_DIFFUSION else _sdxl)(small)
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


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _sd15(small: bool) -> Any:
    few = _SMALL | {"block_out_channels": (16, 16, 32, 32)} if small else {}
    return StableDiffusionPipeline(
        vae=_vae(0.18215, small),
        text_encoder=CLIPTextModel(_text_config(*(_SMALL_TEXT if small else (768, 3072, 12, 12)))),
        tokenizer=_tokenizer(),
        unet=UNet2DConditionModel(
            **{"sample_size": 64, "cross_attention_dim": _SMALL_TEXT[0] if small else 768, "attention_head_dim": 8}
            | few
        ),
        scheduler=EulerDiscreteScheduler(**_SCHEDULE),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _sdxl(small: bool) -> Any:
    first = _SMALL_TEXT if small else (768, 3072, 12, 12)
    second = _SMALL_TEXT if small else (1280, 5120, 32, 20)
    few = _SMALL | {"block_out_channels": (16, 16, 32), "transformer_layers_per_block": (1, 1, 2)} if small else {}
    config: dict[str, Any] = {
        "sample_size": 128,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "block_out_channels": (320, 640, 1280),
        "transformer_layers_per_block": (1, 2, 10),
        "attention_head_dim": (5, 10, 20),
        "cross_attention_dim": first[0] + second[0],
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": second[0] + 6 * 256,
    }
    return StableDiffusionXLPipeline(
        vae=_vae(0.13025, small),
        text_encoder=CLIPTextModel(_text_config(*first)),
        text_encoder_2=CLIPTextModelWithProjection(_text_config(*second)),
        tokenizer=_tokenizer(),
        tokenizer_2=_tokenizer(),
        unet=UNet2DConditionModel(**config | few),
        scheduler=EulerDiscreteScheduler(**_SCHEDULE),
        add_watermarker=False,
    )


def _vae(scaling_factor: float, small: bool) -> AutoencoderKL:
    few = {"block_out_channels": (8, 8, 8, 8), "layers_per_block": 1, "norm_num_groups": 4} if small else {}
    return AutoencoderKL(**_VAE_BLOCKS | few, scaling_factor=scaling_factor)


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

"""The pipeline folder that is shipped, put together from what the training stages left."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderTiny, StableDiffusionPipeline, UNet2DConditionModel

from models.house import text
from models.house.unet import build_scheduler


def export(text_encoder: Path, autoencoder: AutoencoderTiny, unet: UNet2DConditionModel, target: Path) -> None:
    """Write a Stable Diffusion folder in half precision to ``target``, replacing what was there."""
    tokenizer, encoder = text.load(text_encoder)
    pipeline = StableDiffusionPipeline(
        vae=autoencoder, text_encoder=encoder, tokenizer=tokenizer, unet=unet, scheduler=build_scheduler(),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    shutil.rmtree(target, ignore_errors=True)
    pipeline.to(torch.float16).save_pretrained(target, safe_serialization=True)

"""Assembles the shipped pipeline folder from the results of the training stages."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderTiny, StableDiffusionPipeline, UNet2DConditionModel

from training.house import text
from training.house.unet import build_scheduler


def export(text_encoder: Path, autoencoder: AutoencoderTiny, unet: UNet2DConditionModel, target: Path) -> None:
    """Write a Stable Diffusion folder in float16 to ``target``, replacing an existing one."""
    tokenizer, encoder = text.load(text_encoder)
    pipeline = StableDiffusionPipeline(
        vae=autoencoder, text_encoder=encoder, tokenizer=tokenizer, unet=unet, scheduler=build_scheduler(),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    shutil.rmtree(target, ignore_errors=True)
    pipeline.to(torch.float16).save_pretrained(target, safe_serialization=True)

"""A checkpoint of the published architecture of SD 1.x: all its tensors with their names and shapes, and no content."""

from __future__ import annotations

from pathlib import Path

from accelerate import init_empty_weights
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from models.diffusion.single_files.configurations import ARCHITECTURES
from tests.tiny.single_files import CLIP, UNET, VAE, original_clip, original_unet, original_vae
from tests.weight_files import write_sparse


def build_published_file(file: Path) -> Path:
    """Write an SD 1.x checkpoint of 1.07 GB in float8, whose weights are zeros and a hole that takes no space."""
    architecture = ARCHITECTURES[0]
    with init_empty_weights():
        unet = UNet2DConditionModel.from_config({**architecture.unet, "in_channels": 4})
        vae = AutoencoderKL.from_config(architecture.vae)
        text_encoder = CLIPTextModel(CLIPTextConfig(**architecture.text_encoders["text_encoder"]))
    tensors = {f"{UNET}.{name}": each for name, each in original_unet(unet.state_dict(), layers=2)}
    tensors |= {f"{VAE}.{name}": each for name, each in original_vae(vae.state_dict())}
    tensors |= original_clip(text_encoder, CLIP)
    return write_sparse(file, {name: list(tensor.shape) for name, tensor in tensors.items()}, "F8_E4M3")

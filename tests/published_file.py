"""Checkpoints of published architectures: all their tensors with their names and shapes, and no content."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import transformers
from accelerate import init_empty_weights
from diffusers import AutoencoderKL, UNet2DConditionModel

from models.diffusion.single_files.configurations import ARCHITECTURES
from tests.tiny.single_files import CLIP, UNET, VAE, original_clip, original_open_clip, original_unet, original_vae
from tests.weight_files import write_sparse

SD1, SD2, SDXL = range(3)
"""The numbers of the architectures in ``ARCHITECTURES``."""
_TEXT_ENCODERS = {
    SD1: {"text_encoder": (original_clip, CLIP)},
    SD2: {"text_encoder": (original_open_clip, "cond_stage_model.model")},
    SDXL: {
        "text_encoder": (original_clip, "conditioner.embedders.0.transformer"),
        "text_encoder_2": (original_open_clip, "conditioner.embedders.1.model"),
    },
}
"""How the names of each text encoder are made, and what they begin with."""


@cache
def published_shapes(number: int) -> dict[str, list[int]]:
    """The names and shapes of all tensors of a published checkpoint; not to be changed."""
    architecture = ARCHITECTURES[number]
    with init_empty_weights():
        unet = UNet2DConditionModel.from_config({**architecture.unet, "in_channels": 4})
        vae = AutoencoderKL.from_config(architecture.vae)
    tensors = {f"{UNET}.{name}": each for name, each in original_unet(unet.state_dict(), layers=2)}
    tensors |= {f"{VAE}.{name}": each for name, each in original_vae(vae.state_dict())}
    for part, (in_original_names, prefix) in _TEXT_ENCODERS[number].items():
        tensors |= in_original_names(_text_encoder(architecture.text_encoders[part]), prefix)
    return {name: list(tensor.shape) for name, tensor in tensors.items()}


def _text_encoder(config: Any) -> Any:
    model_class = getattr(transformers, config["architectures"][0])
    with init_empty_weights():
        return model_class(model_class.config_class(**config))


def published_vae() -> dict[str, list[int]]:
    """The same of a VAE in a file of its own, which fits SD 1.x and SD 2.x."""
    prefix = f"{VAE}."
    return {
        name.removeprefix(prefix): shape for name, shape in published_shapes(SD1).items() if name.startswith(prefix)
    }


def build_published_file(file: Path, number: int = SD1, dtype: str = "F16") -> Path:
    """Write a published checkpoint, whose weights are zeros and a hole that takes no space on the disk."""
    return write_sparse(file, published_shapes(number), dtype)

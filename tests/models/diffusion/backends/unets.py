"""Tiny UNets of every kind that the families load, with random weights, and inputs for them."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import UNet2DConditionModel

from models.diffusion.backends.eager import call_unet
from models.diffusion.backends.inputs import Inputs, seeded_inputs
from models.diffusion.denoiser import Denoiser, Residuals

KINDS: dict[str, dict[str, Any]] = {
    "sd": {},
    "house": {
        "addition_embed_type": "text", "addition_embed_type_num_heads": 4, "resnet_time_scale_shift": "scale_shift",
    },
    "sdxl, distilled, for inpainting": {
        "in_channels": 9, "time_cond_proj_dim": 8, "transformer_layers_per_block": (1, 2, 2),
        "use_linear_projection": True, "addition_embed_type": "text_time", "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 16 + 6 * 8,
    },
}  # fmt: skip


def build_unet(kind: str = "sd", unet_class: type[UNet2DConditionModel] = UNet2DConditionModel) -> Any:
    """One of ``KINDS``, halving its latents twice; always the same weights."""
    torch.manual_seed(0)
    config: dict[str, Any] = {
        "sample_size": 8, "in_channels": 4, "out_channels": 4, "block_out_channels": (16, 32, 32),
        "layers_per_block": 1, "cross_attention_dim": 32, "attention_head_dim": 4, "norm_num_groups": 8,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    }  # fmt: skip
    return unet_class(**(config | KINDS[kind])).eval()


@torch.inference_mode()
def inputs_for(unet: Any, count: int = 2, size: tuple[int, int] = (8, 8), tokens: int = 77) -> Inputs:
    """Always the same; made as the engine makes them."""
    return seeded_inputs(unet, count, size, tokens)


def residuals_for(inputs: Inputs) -> Residuals:
    """What a ControlNet of the tiny UNets would give, for latents whose sides can be halved twice."""
    generator = torch.Generator().manual_seed(1)
    count, _, height, width = inputs.latents.shape

    def noise(channels: int, halvings: int) -> torch.Tensor:
        return torch.randn(count, channels, height >> halvings, width >> halvings, generator=generator)

    down = ((16, 0), (16, 0), (16, 1), (32, 1), (32, 2), (32, 2))
    return Residuals(tuple(noise(*shape) for shape in down), noise(32, 2))


@torch.inference_mode()
def run_denoiser(denoiser: Denoiser, inputs: Inputs, residuals: Residuals | None = None) -> torch.Tensor:
    """The denoiser's output, computed as the engine has it computed."""
    return denoiser.denoise(inputs.latents, inputs.timesteps, inputs.conditioning, residuals)


@torch.inference_mode()
def run_torch(unet: Any, inputs: Inputs, residuals: Residuals | None = None) -> torch.Tensor:
    """What plain torch makes of the same."""
    return call_unet(unet, inputs.latents, inputs.timesteps, inputs.conditioning, residuals)


def relative_difference(output: torch.Tensor, expected: torch.Tensor) -> float:
    """Norm by norm."""
    return float((output - expected).norm() / expected.norm())

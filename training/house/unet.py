"""Architecture, noise schedule and training loss of the UNet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor

from training.house.codec import CHANNELS

LATENT_SIZE = 16
NOISY_FROM = 650
"""Half of the timesteps are drawn from here up: at these noise levels the text decides the shape."""


def build_unet() -> UNet2DConditionModel:
    """The UNet, about 17 M parameters; the pooled text also enters through the time embedding."""
    unet = UNet2DConditionModel(
        sample_size=LATENT_SIZE,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        block_out_channels=(64, 128, 256),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
        cross_attention_dim=384,
        attention_head_dim=4,
        norm_num_groups=16,
        addition_embed_type="text",
        addition_embed_type_num_heads=8,
        resnet_time_scale_shift="scale_shift",
    )
    return unet


def training_mode(unet: UNet2DConditionModel) -> UNet2DConditionModel:
    """Plain attention: at this size it is faster on a CPU than the fused kernel."""
    unet.set_attn_processor(AttnProcessor())
    return unet.train()


def build_scheduler() -> DDIMScheduler:
    """Velocity prediction on Stable Diffusion's own noise schedule, which every sampler supports."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


def draw_timesteps(count: int, generator: torch.Generator) -> torch.Tensor:
    """``count`` timesteps, half of them from ``NOISY_FROM`` up."""
    uniform = torch.randint(0, 1000, (count,), generator=generator)
    noisy = torch.randint(NOISY_FROM, 1000, (count,), generator=generator)
    return torch.where(torch.rand(count, generator=generator) < 0.5, noisy, uniform)


def velocity_losses(
    denoise: Callable[..., Any],
    alphas_cumprod: torch.Tensor,
    latents: torch.Tensor,
    states: torch.Tensor,
    timesteps: torch.Tensor,
    noise: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The weighted loss to minimise, and each row's unweighted mean squared error [N] for the log.

    Velocity: Salimans and Ho 2022, arXiv 2202.00512. The weight min(1, 2 / (snr + 1)) is 1 at noisy timesteps.
    """
    alpha = alphas_cumprod[timesteps]
    signal, sigma = alpha.sqrt()[:, None, None, None], (1 - alpha).sqrt()[:, None, None, None]
    target = signal * noise - sigma * latents
    predicted = denoise(signal * latents + sigma * noise, timesteps, states, return_dict=False)[0]
    errors = (predicted.float() - target).square().mean((1, 2, 3))
    weight = (2 * (1 - alpha)).clamp(max=1)
    return (errors * weight).mean(), errors.detach()

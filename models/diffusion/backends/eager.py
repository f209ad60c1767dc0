"""The UNet as torch runs it: the reference for all others, and the one that serves LoRA and ControlNet."""

from __future__ import annotations

from typing import Any

import torch

from models.diffusion.denoiser import Conditioning, Residuals


class EagerDenoiser:
    """A ``UNet2DConditionModel``, with torch's fused attention, which is diffusers' default.

    Args:
        unet: is served as it is at the time of each call, LoRAs included. On a GPU its weights are laid out
            channels last, in place.
    """

    name = "eager"
    relative_error: float | None = None

    def __init__(self, unet: Any) -> None:
        self.unet = unet if unet.device.type == "cpu" else unet.to(memory_format=torch.channels_last)

    def denoise(
        self,
        latents: torch.Tensor,
        timesteps: torch.Tensor,
        conditioning: Conditioning,
        residuals: Residuals | None = None,
    ) -> torch.Tensor:
        """See :meth:`Denoiser.denoise`."""
        return call_unet(self.unet, latents, timesteps, conditioning, residuals)


def call_unet(
    unet: Any,
    latents: torch.Tensor,
    timesteps: torch.Tensor,
    conditioning: Conditioning,
    residuals: Residuals | None = None,
) -> torch.Tensor:
    """The plain forward of a ``UNet2DConditionModel``: [N, channels, h, w]; arguments as :meth:`Denoiser.denoise`'s."""
    output: torch.Tensor = unet(
        latents,
        timesteps,
        encoder_hidden_states=conditioning.hidden_states,
        timestep_cond=conditioning.guidance_embedding,
        added_cond_kwargs=dict(conditioning.further),
        down_block_additional_residuals=residuals and residuals.down,
        mid_block_additional_residual=residuals and residuals.mid,
        return_dict=False,
    )[0]
    return output

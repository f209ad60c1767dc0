"""The UNet on torch: the reference for all backends, and the only one that runs LoRAs and ControlNets."""

from __future__ import annotations

from typing import Any

import torch

from models.diffusion.denoiser import Conditioning, Residuals
from models.diffusion.devices import channels_last_on_gpu


class EagerDenoiser:
    """A ``UNet2DConditionModel`` on torch, with fused attention, which is the default of diffusers.

    Args:
        unet: each call uses it in its current state, including LoRAs. On a GPU its weights are converted to the
            channels-last format, in place.
    """

    name = "eager"
    relative_error: float | None = None

    def __init__(self, unet: Any) -> None:
        self.unet = channels_last_on_gpu(unet)

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
    """The plain forward of a ``UNet2DConditionModel``, [N, channels, h, w]; see :meth:`Denoiser.denoise`."""
    output: torch.Tensor = unet(
        latents,
        timesteps,
        encoder_hidden_states=conditioning.hidden_states,
        timestep_cond=conditioning.guidance_embedding,
        added_cond_kwargs=dict(conditioning.extra_kwargs),
        down_block_additional_residuals=residuals and residuals.down,
        mid_block_additional_residual=residuals and residuals.mid,
        return_dict=False,
    )[0]
    return output

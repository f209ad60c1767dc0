"""What goes into a UNet, by name: made up for a probe or an export, and as an exported graph takes it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from models.diffusion.denoiser import Conditioning

SIZE_NUMBERS = 6
"""How many numbers tell SDXL's UNet of sizes."""


@dataclass(frozen=True)
class Inputs:
    """The arguments of one forward, N inputs."""

    latents: torch.Tensor
    timesteps: torch.Tensor
    conditioning: Conditioning

    @property
    def named(self) -> dict[str, torch.Tensor]:
        """All tensors by the names, and in the order, that every exported graph has them."""
        guidance = self.conditioning.guidance_embedding
        return {
            "latents": self.latents,
            "timesteps": self.timesteps,
            "hidden_states": self.conditioning.hidden_states,
            **({} if guidance is None else {"guidance_embedding": guidance}),
            **self.conditioning.further,
        }

    @classmethod
    def from_named(cls, named: dict[str, torch.Tensor]) -> Inputs:
        """The inverse of :attr:`named`."""
        known = ("latents", "timesteps", "hidden_states", "guidance_embedding")
        further = {name: tensor for name, tensor in named.items() if name not in known}
        conditioning = Conditioning(named["hidden_states"], named.get("guidance_embedding"), further)
        return cls(named["latents"], named["timesteps"], conditioning)


def seeded_inputs(unet: Any, count: int, size: tuple[int, int], tokens: int) -> Inputs:
    """Normal noise and timesteps from all over the schedule, always the same, of the UNet's dtype and on its device.

    Args:
        unet: a ``UNet2DConditionModel``; its configuration says what it takes.
        count: how many inputs.
        size: of the latents, (height, width).
        tokens: of the text.
    """
    generator = torch.Generator().manual_seed(0)
    config = unet.config

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(count, *shape, generator=generator).to(unet.device, unet.dtype)

    latents = noise(config.in_channels, *size)
    states = noise(tokens, config.encoder_hid_dim or config.cross_attention_dim)
    guidance = noise(config.time_cond_proj_dim) if config.time_cond_proj_dim else None
    further = {name: noise(width) for name, width in _further(config)}
    timesteps = torch.linspace(981, 1, count, device=unet.device)
    return Inputs(latents, timesteps, Conditioning(states, guidance, further))


def _further(config: Any) -> Iterator[tuple[str, int]]:
    """Names and widths of what SDXL's UNets take beside the text's hidden states; no other family takes any."""
    if config.addition_embed_type == "text_time":
        sizes = SIZE_NUMBERS * config.addition_time_embed_dim
        yield "text_embeds", config.projection_class_embeddings_input_dim - sizes
        yield "time_ids", SIZE_NUMBERS

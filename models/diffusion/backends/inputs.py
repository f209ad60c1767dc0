"""The inputs of one forward of a UNet: by name for exported graphs, and seeded ones for tests and exports."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from models.diffusion.denoiser import Conditioning

SIZE_NUMBERS = 6
"""The length of ``time_ids`` of SDXL's base model."""


@dataclass(frozen=True)
class Inputs:
    """The arguments of one forward, N inputs."""

    latents: torch.Tensor
    timesteps: torch.Tensor
    conditioning: Conditioning

    @property
    def named(self) -> dict[str, torch.Tensor]:
        """All tensors with the names and in the order of the inputs of every exported graph."""
        guidance = self.conditioning.guidance_embedding
        return {
            "latents": self.latents,
            "timesteps": self.timesteps,
            "hidden_states": self.conditioning.hidden_states,
            **({} if guidance is None else {"guidance_embedding": guidance}),
            **self.conditioning.extra_kwargs,
        }

    @classmethod
    def from_named(cls, named: dict[str, torch.Tensor]) -> Inputs:
        """The inverse of :attr:`named`."""
        known = ("latents", "timesteps", "hidden_states", "guidance_embedding")
        extra_kwargs = {name: tensor for name, tensor in named.items() if name not in known}
        conditioning = Conditioning(named["hidden_states"], named.get("guidance_embedding"), extra_kwargs)
        return cls(named["latents"], named["timesteps"], conditioning)


def seeded_inputs(unet: Any, count: int, size: tuple[int, int], tokens: int) -> Inputs:
    """Normal noise, and timesteps from the whole schedule; always the same, in the UNet's dtype and on its device.

    Args:
        unet: a ``UNet2DConditionModel``; its config tells which inputs it takes.
        count: the number of inputs.
        size: height and width of the latents.
        tokens: the number of tokens of the text.
    """
    generator = torch.Generator().manual_seed(0)
    config = unet.config

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(count, *shape, generator=generator).to(unet.device, unet.dtype)

    latents = noise(config.in_channels, *size)
    states = noise(tokens, config.encoder_hid_dim or config.cross_attention_dim)
    guidance = noise(config.time_cond_proj_dim) if config.time_cond_proj_dim else None
    extra_kwargs = {name: noise(width) for name, width in _extra_widths(config)}
    timesteps = torch.linspace(981, 1, count, device=unet.device)
    return Inputs(latents, timesteps, Conditioning(states, guidance, extra_kwargs))


def _extra_widths(config: Any) -> Iterator[tuple[str, int]]:
    """The names and widths of the further inputs of SDXL's UNets; other families with a UNet have none."""
    if config.addition_embed_type == "text_time":
        sizes = SIZE_NUMBERS * config.addition_time_embed_dim
        yield "text_embeds", config.projection_class_embeddings_input_dim - sizes
        yield "time_ids", SIZE_NUMBERS

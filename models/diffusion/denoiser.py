"""The seam between the engine and whatever runs the UNet, and the plain torch UNet behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, Self

import torch


@dataclass(frozen=True)
class Conditioning:
    """What a prompt, or its absence, gives the denoiser; N inputs."""

    hidden_states: torch.Tensor
    """[N, tokens, width], the text encoder's output."""
    guidance_embedding: torch.Tensor | None = None
    """[N, width], for denoisers that were distilled to take the guidance scale as an input; ``None`` for all others."""
    further: Mapping[str, torch.Tensor] = field(default_factory=dict)
    """[N, ...] each, by the UNet's own names for them; what they are is the family's matter."""

    @classmethod
    def cat(cls, parts: Sequence[Self]) -> Self:
        """All inputs of all ``parts``, in order."""
        embeddings = [part.guidance_embedding for part in parts if part.guidance_embedding is not None]
        return cls(
            torch.cat([part.hidden_states for part in parts]),
            torch.cat(embeddings) if embeddings else None,
            {name: torch.cat([part.further[name] for part in parts]) for name in parts[0].further},
        )


class Denoiser(Protocol):
    """Predicts what is wrong with noisy latents. Each input's result must not depend on the other inputs."""

    def denoise(self, latents: torch.Tensor, timesteps: torch.Tensor, conditioning: Conditioning) -> torch.Tensor:
        """The model's raw output [N, channels, h, w].

        Args:
            latents: [N, channels, h, w], scaled as the scheduler wants the model's input.
            timesteps: [N], float32, one for each input.
            conditioning: of N inputs.

        Raises:
            torch.OutOfMemoryError: the batch does not fit; the engine tries again with smaller ones.
        """
        ...


class EagerDenoiser:
    """A ``UNet2DConditionModel`` as torch runs it."""

    def __init__(self, unet: Callable[..., tuple[torch.Tensor]]) -> None:
        self._unet = unet

    def denoise(self, latents: torch.Tensor, timesteps: torch.Tensor, conditioning: Conditioning) -> torch.Tensor:
        """See :meth:`Denoiser.denoise`."""
        (output,) = self._unet(
            latents,
            timesteps,
            encoder_hidden_states=conditioning.hidden_states,
            timestep_cond=conditioning.guidance_embedding,
            added_cond_kwargs=dict(conditioning.further),
            return_dict=False,
        )
        return output

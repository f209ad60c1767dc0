"""The seam between the engine and whatever runs the UNet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

    @property
    def size_bytes(self) -> int:
        """What its tensors take."""
        return sum(each.nbytes for each in (self.hidden_states, self.guidance_embedding, *self.further.values())
                   if each is not None)  # fmt: skip

    @classmethod
    def cat(cls, parts: Sequence[Self]) -> Self:
        """All inputs of all ``parts``, in order."""
        embeddings = [part.guidance_embedding for part in parts if part.guidance_embedding is not None]
        return cls(
            torch.cat([part.hidden_states for part in parts]),
            torch.cat(embeddings) if embeddings else None,
            {name: torch.cat([part.further[name] for part in parts]) for name in parts[0].further},
        )


@dataclass(frozen=True)
class Residuals:
    """What ControlNets add inside the UNet (arXiv 2302.05543); N inputs, zero for those without control."""

    down: tuple[torch.Tensor, ...]
    """[N, channels, h, w] each, for the down blocks' outputs, in the UNet's order."""
    mid: torch.Tensor
    """[N, channels, h, w], for the middle block's output."""


class Denoiser(Protocol):
    """Predicts what is wrong with noisy latents. Each input's result must not depend on the other inputs."""

    @property
    def name(self) -> str:
        """The backend's, one of ``backends.choose.BACKENDS``."""
        ...

    @property
    def relative_error(self) -> float | None:
        """How far the output is from what torch computes, as ``backends.measure`` has it; ``None``: it is torch's."""
        ...

    def denoise(
        self,
        latents: torch.Tensor,
        timesteps: torch.Tensor,
        conditioning: Conditioning,
        residuals: Residuals | None = None,
    ) -> torch.Tensor:
        """The model's raw output [N, channels, h, w].

        Args:
            latents: [N, channels, h, w], scaled as the scheduler wants the model's input.
            timesteps: [N], float32, one for each input.
            conditioning: of N inputs.
            residuals: of N inputs.

        Raises:
            torch.OutOfMemoryError, MemoryError: the batch does not fit; the engine tries again with smaller ones.
            DrawingFailed: there are ``residuals``, and this backend cannot take any.
        """
        ...

"""The interface between the engine and the backends that run a denoiser, and the inputs of one forward."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, Self, runtime_checkable

import torch


@dataclass(frozen=True)
class Conditioning:
    """The denoiser's inputs besides latents and timesteps, N inputs."""

    hidden_states: torch.Tensor
    """[N, tokens, width], the text encoders' output."""
    guidance_embedding: torch.Tensor | None = None
    """[N, width], for denoisers that were distilled to take the guidance scale as an input; otherwise ``None``."""
    extra_kwargs: Mapping[str, torch.Tensor] = field(default_factory=dict)
    """[N, ...] each, the denoiser's further arguments by name, such as SDXL's ``added_cond_kwargs``."""

    @property
    def size_bytes(self) -> int:
        """The memory of all tensors."""
        return sum(each.nbytes for each in (self.hidden_states, self.guidance_embedding, *self.extra_kwargs.values())
                   if each is not None)  # fmt: skip

    @classmethod
    def cat(cls, parts: Sequence[Self]) -> Self:
        """Concatenate all inputs of all ``parts``."""
        embeddings = [part.guidance_embedding for part in parts if part.guidance_embedding is not None]
        return cls(
            torch.cat([part.hidden_states for part in parts]),
            torch.cat(embeddings) if embeddings else None,
            {name: torch.cat([part.extra_kwargs[name] for part in parts]) for name in parts[0].extra_kwargs},
        )


@dataclass(frozen=True)
class Residuals:
    """What ControlNets add inside the UNet (arXiv 2302.05543), N inputs; zero for inputs without a ControlNet."""

    down: tuple[torch.Tensor, ...]
    """[N, channels, h, w] each, for the outputs of the down blocks, in the UNet's order."""
    mid: torch.Tensor
    """[N, channels, h, w], for the output of the middle block."""


@dataclass(frozen=True)
class InputShape:
    """The lengths of one input's tensors, as far as they differ between images of one model."""

    height: int
    """Of the latents."""
    width: int
    tokens: int

    @classmethod
    def of(cls, latents: torch.Tensor, conditioning: Conditioning) -> Self:
        """The shape of each input in ``latents`` [N, channels, h, w] and ``conditioning``."""
        return cls(latents.shape[-2], latents.shape[-1], conditioning.hidden_states.shape[1])


class Denoiser(Protocol):
    """Predicts the noise in latents, or what the model was trained to predict instead.

    The output for one input must not depend on the other inputs.
    """

    relative_error: float | None
    """How far the output differs from torch's, as ``backends.measure`` defines it; ``None`` for torch itself."""

    @property
    def name(self) -> str:
        """The backend's name, one of ``models.catalog.backends.BACKENDS``."""
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
            latents: [N, channels, h, w], scaled by the scheduler for the model.
            timesteps: [N], float32, one for each input.
            conditioning: of N inputs.
            residuals: of N inputs.

        Raises:
            torch.OutOfMemoryError, MemoryError: the batch does not fit; the engine retries with smaller batches.
            DrawingFailed: ``residuals`` are given, and this backend cannot take any.
        """
        ...


@runtime_checkable
class FixedSizes(Protocol):
    """A denoiser that runs batches of some sizes only: it pads smaller batches, and divides larger ones."""

    def batch_sizes(self, shape: InputShape) -> tuple[int, ...]:
        """The sizes, ascending, for inputs of ``shape``; empty if it runs them in batches of any size."""
        ...


def batch_sizes(denoiser: Denoiser, shape: InputShape) -> tuple[int, ...]:
    """The sizes of batches that ``denoiser`` runs, ascending; empty for any size."""
    return denoiser.batch_sizes(shape) if isinstance(denoiser, FixedSizes) else ()


def computed_inputs(count: int, sizes: Sequence[int]) -> int:
    """How many inputs a forward of ``count`` computes where only batches of ``sizes``, ascending, can be computed.

    A smaller batch is padded to the next size. A larger one than the last size is divided into batches of that size
    and a rest. Without ``sizes``, ``count`` itself is computed.
    """
    if not sizes:
        return count
    whole, rest = divmod(count, sizes[-1])
    return whole * sizes[-1] + (next(size for size in sizes if size >= rest) if rest else 0)

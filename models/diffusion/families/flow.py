"""What the families that were trained by flow matching (arXiv 2210.02747) have in common."""

from __future__ import annotations

from typing import Any

import torch

from models.diffusion.families.family import Family
from models.diffusion.sampling import Scheduler
from models.errors import DrawingFailed


class FlowMatching(Family):
    """A family of transformers that predict the way from image to noise, whose schedulers scale nothing."""

    half = torch.bfloat16
    module = "transformer"

    def scale_input(self, scheduler: Scheduler, latents: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        """``latents`` as they are."""
        return latents

    def first_latents(self, scheduler: Scheduler, noise: torch.Tensor) -> torch.Tensor:
        """``noise`` as it is."""
        return noise

    def add_noise(
        self, scheduler: Scheduler, latents: torch.Tensor, noise: torch.Tensor, timestep: torch.Tensor
    ) -> torch.Tensor:
        """On the straight line between the two."""
        flow: Any = scheduler
        noisy: torch.Tensor = flow.scale_noise(latents, timestep[None], noise)
        return noisy

    def skipped_steps(self, steps: int, strength: float) -> int:
        """Rounded down, where the older pipelines round up."""
        return int(max(steps - min(steps * strength, steps), 0))


def shift(config: Any, tokens: int, max_shift: float) -> float:
    """How far the timesteps of an image of ``tokens`` are shifted towards noise: the ``mu`` of ``set_timesteps``.

    On the line through two points that the scheduler's ``config`` gives, as the pipelines' ``calculate_shift``.

    Args:
        config: a ``FlowMatchEulerDiscreteScheduler``'s.
        tokens: patches of the image.
        max_shift: the second point's, where ``config`` has none.
    """
    first, last = config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096)
    low, high = config.get("base_shift", 0.5), config.get("max_shift", max_shift)
    slope = (high - low) / (last - first)
    return float(tokens * slope + (low - slope * first))


def check_length(tokenizer: Any, prompt: str, limit: int) -> None:
    """Refuse a prompt whose end no text encoder would read.

    Args:
        tokenizer: of the encoder that reads the most.
        prompt: plain text.
        limit: how many tokens it reads, special ones included.

    Raises:
        DrawingFailed: there are more.
    """
    tokens = len(tokenizer(prompt, verbose=False).input_ids)
    if tokens > limit:
        raise DrawingFailed(f"the prompt takes {tokens} tokens, and this model reads {limit}; shorten it")

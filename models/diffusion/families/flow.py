"""What families trained by flow matching (Lipman et al. 2022, arXiv 2210.02747) have in common."""

from __future__ import annotations

from typing import Any

import torch

from models.diffusion.families.family import Family
from models.diffusion.sampling import NoiseScheduler
from models.errors import DrawingFailed


class FlowMatching(Family):
    """A family with a transformer that predicts the velocity from image to noise."""

    half = torch.bfloat16
    module = "transformer"

    def scale_input(self, scheduler: NoiseScheduler, latents: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        """``latents`` unchanged; flow-matching schedulers do not scale them."""
        return latents

    def init_latents(self, scheduler: NoiseScheduler, noise: torch.Tensor) -> torch.Tensor:
        """``noise`` unchanged."""
        return noise

    def add_noise(
        self, scheduler: NoiseScheduler, latents: torch.Tensor, noise: torch.Tensor, timestep: torch.Tensor
    ) -> torch.Tensor:
        """Interpolate linearly between latents and noise."""
        flow: Any = scheduler
        noisy: torch.Tensor = flow.scale_noise(latents, timestep[None], noise)
        return noisy

    def skipped_steps(self, steps: int, strength: float) -> int:
        """Rounded down, where the pipelines with a UNet round up."""
        return int(max(steps - min(steps * strength, steps), 0))


def shift(config: Any, tokens: int, max_shift: float) -> float:
    """The ``mu`` of ``set_timesteps``: how far the timesteps of an image of ``tokens`` are shifted towards noise.

    Interpolated linearly between two points in the scheduler's ``config``, as ``calculate_shift`` of the pipelines.

    Args:
        config: the config of a ``FlowMatchEulerDiscreteScheduler``.
        tokens: the number of patches of the image.
        max_shift: the shift at the second point, where ``config`` has none.
    """
    first, last = config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096)
    low, high = config.get("base_shift", 0.5), config.get("max_shift", max_shift)
    slope = (high - low) / (last - first)
    return float(tokens * slope + (low - slope * first))


def check_length(tokenizer: Any, prompt: str, limit: int) -> int:
    """The number of tokens of ``prompt``, including special ones.

    A prompt that is too long for every text encoder, whose end would be cut off, is refused.

    Args:
        tokenizer: of the text encoder that takes the longest prompts.
        prompt: plain text.
        limit: the number of tokens that this encoder takes, including special ones.

    Raises:
        DrawingFailed: the prompt has more tokens.
    """
    tokens = len(tokenizer(prompt, verbose=False).input_ids)
    if tokens > limit:
        message = f"the prompt has {tokens} tokens, and this model takes at most {limit}; shorten it"
        raise DrawingFailed(message, "prompt")
    return tokens

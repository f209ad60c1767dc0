"""FLUX.1, dev and schnell: a transformer that takes patches of latents, and the guidance scale, if any, as an input."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from diffusers import FluxPipeline

from models.catalog.families import FLUX
from models.diffusion.denoiser import Conditioning, Residuals
from models.diffusion.families.family import Wording
from models.diffusion.families.flow import FlowMatching, check_length, shift
from models.diffusion.pipeline import Pipeline
from models.diffusion.sampling import Scheduler
from models.errors import DrawingFailed

PATCH = 2
"""The side of the squares of latents that are one token."""
DEV_TOKENS, SCHNELL_TOKENS = 512, 256
"""How many tokens of the prompt T5 reads, as in the authors' own code (github.com/black-forest-labs/flux)."""


class Flux(FlowMatching):
    """As ``FluxPipeline``, ``FluxImg2ImgPipeline`` and ``FluxInpaintPipeline``.

    The latents are kept as planes [1, 16, h, w], and only the denoiser packs them: all else goes element by element,
    so that the order does not matter. There is no classifier-free guidance; models with an embedding for it take the
    guidance scale as an input, the others have none.
    """

    name = FLUX
    pipeline_class = FluxPipeline
    options = MappingProxyType({"image_encoder": None, "feature_extractor": None})

    def misfit(self, pipeline: Pipeline) -> str | None:
        """Whatever ``FluxPipeline`` can be loaded from is one, but for its channels."""
        return None

    def channel_misfit(self, pipeline: Pipeline) -> str | None:
        """Each token is a patch of all channels; those of FLUX.1 Fill, Depth and Canny hold another image too."""
        channels, taken = pipeline.vae.config.latent_channels, pipeline.transformer.config.in_channels
        if taken == PATCH**2 * channels:
            return None
        return f"its transformer takes tokens of {taken} numbers, not {PATCH**2 * channels}; only dev and schnell fit"

    def encode(self, pipeline: Pipeline, wording: Wording, size: tuple[int, int], device: torch.device) -> Conditioning:
        """T5's hidden states, and CLIP's pooled embedding, of the prompt as it is written: there are no weights.

        Raises:
            DrawingFailed: there is a negative prompt, a clip skip, or more than T5 reads.
        """
        if wording.negative_prompt:
            raise DrawingFailed("FLUX takes no negative prompt; leave it out")
        if wording.clip_skip != 1:
            raise DrawingFailed(f"clip_skip {wording.clip_skip}: FLUX skips no layers; use 1")
        is_dev: bool = pipeline.transformer.config.guidance_embeds
        tokens = DEV_TOKENS if is_dev else SCHNELL_TOKENS
        check_length(pipeline.tokenizer_2, wording.prompt, tokens)
        states, pooled, _ = pipeline.encode_prompt(wording.prompt, device=device, max_sequence_length=tokens)
        further = {"pooled_projections": pooled}
        if is_dev:
            further["guidance"] = torch.full([1], wording.guidance_scale, device=device)
        return Conditioning(states, further=further)

    def eager(self, pipeline: Pipeline) -> FluxDenoiser:
        """The transformer as torch runs it."""
        return FluxDenoiser(pipeline.transformer)

    def takes_mask(self, pipeline: Pipeline) -> bool:
        """None does."""
        return False

    def lay_out(self, pipeline: Pipeline, scheduler: Scheduler, steps: int, shape: tuple[int, ...]) -> None:
        """Evenly spaced noise, shifted by the image's size if the checkpoint's scheduler does so."""
        flow: Any = scheduler
        tokens = (shape[-2] // PATCH) * (shape[-1] // PATCH)
        flow.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps), mu=shift(flow.config, tokens, max_shift=1.15))


class FluxDenoiser:
    """A ``FluxTransformer2DModel``.

    Args:
        transformer: is served as it is at the time of each call, LoRAs included.
    """

    name = "eager"
    relative_error: float | None = None

    def __init__(self, transformer: Any) -> None:
        self._transformer = transformer

    def denoise(
        self,
        latents: torch.Tensor,
        timesteps: torch.Tensor,
        conditioning: Conditioning,
        residuals: Residuals | None = None,
    ) -> torch.Tensor:
        """See :meth:`Denoiser.denoise`; no ControlNet is supported."""
        if residuals is not None:
            raise DrawingFailed("FLUX models take no ControlNets")
        height, width = (side // PATCH for side in latents.shape[-2:])
        tokens: torch.Tensor = self._transformer(
            hidden_states=pack(latents),
            timestep=timesteps.to(latents.dtype) / 1000,
            encoder_hidden_states=conditioning.hidden_states,
            txt_ids=conditioning.hidden_states.new_zeros(conditioning.hidden_states.shape[1], 3),
            img_ids=positions(height, width).to(latents),
            return_dict=False,
            **conditioning.further,
        )[0]
        return unpack(tokens, height, width)


def pack(latents: torch.Tensor) -> torch.Tensor:
    """Planes [N, channels, h, w] to one token for each patch [N, h * w / 4, channels * 4]."""
    count, channels, height, width = latents.shape
    patches = latents.reshape(count, channels, height // PATCH, PATCH, width // PATCH, PATCH)
    return patches.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


def unpack(tokens: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """The inverse of :func:`pack`; ``height`` and ``width`` in patches."""
    patches = tokens.reshape(len(tokens), height, width, -1, PATCH, PATCH)
    return patches.permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3)


def positions(height: int, width: int) -> torch.Tensor:
    """[height * width, 3]: each patch's row and column, the first number unused."""
    grid = torch.cartesian_prod(torch.zeros(1), torch.arange(height).float(), torch.arange(width).float())
    return grid.reshape(-1, 3)


FAMILY = Flux()

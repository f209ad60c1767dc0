"""FLUX.1 dev and schnell: a transformer on patches of latents that takes the guidance scale as an input (dev only)."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from diffusers import FluxPipeline

from models.catalog.bounds import T5_TOKENS_MAX
from models.catalog.families import FLUX
from models.diffusion.denoiser import Conditioning, Residuals
from models.diffusion.families.flow import FlowMatching, check_length, shift
from models.diffusion.pipeline import Pipeline
from models.diffusion.prompt_inputs import PromptInputs
from models.diffusion.sampling import NoiseScheduler
from models.errors import DrawingFailed

PATCH = 2
"""The side of the square of latents that makes one token."""
SCHNELL_TOKENS = 256
"""The number of prompt tokens that schnell pads to, unless the prompt has more; dev pads to the most that T5 takes. As
in the authors' code (github.com/black-forest-labs/flux)."""


class Flux(FlowMatching):
    """As ``FluxPipeline``, ``FluxImg2ImgPipeline`` and ``FluxInpaintPipeline``.

    The pipelines pack latents into tokens; here they stay planes [1, 16, h, w], and only the denoiser packs them. All
    other operations work element by element, so the result is the same. There is no classifier-free guidance: dev takes
    the guidance scale as an input, schnell ignores it.
    """

    name = FLUX
    pipeline_class = FluxPipeline
    options = MappingProxyType({"image_encoder": None, "feature_extractor": None})

    def validate(self, pipeline: Pipeline) -> str | None:
        """Always ``None``: ``FluxPipeline`` itself refuses other pipelines, except for their channels."""
        return None

    def validate_channels(self, pipeline: Pipeline) -> str | None:
        """Refuse FLUX.1 Fill, Depth and Canny, whose tokens hold the channels of a second image."""
        channels, taken = pipeline.vae.config.latent_channels, pipeline.transformer.config.in_channels
        if taken == PATCH**2 * channels:
            return None
        return f"its transformer takes {taken} channels, not {PATCH**2 * channels}; only dev and schnell are supported"

    def encode(
        self, pipeline: Pipeline, inputs: PromptInputs, size: tuple[int, int], device: torch.device
    ) -> Conditioning:
        """T5's hidden states and CLIP's pooled embedding of the prompt as plain text, without weights.

        Raises:
            DrawingFailed: there is a negative prompt or a clip skip, or the prompt is composed or too long for T5.
        """
        if inputs.negative_prompt:
            raise DrawingFailed("FLUX takes no negative_prompt; leave it out")
        if inputs.is_composed:
            raise DrawingFailed("FLUX cannot compose prompts by AND: it draws without classifier-free guidance")
        if inputs.clip_skip != 1:
            raise DrawingFailed(f"clip_skip must be 1 for FLUX, not {inputs.clip_skip}")
        is_dev: bool = pipeline.transformer.config.guidance_embeds
        (prompt,) = inputs.prompts
        length = check_length(pipeline.tokenizer_2, prompt, T5_TOKENS_MAX)
        tokens = T5_TOKENS_MAX if is_dev or length > SCHNELL_TOKENS else SCHNELL_TOKENS
        states, pooled, _ = pipeline.encode_prompt(prompt, device=device, max_sequence_length=tokens)
        extra_kwargs = {"pooled_projections": pooled}
        if is_dev:
            extra_kwargs["guidance"] = torch.full([1], inputs.guidance_scale, device=device)
        return Conditioning(states, extra_kwargs=extra_kwargs)

    def eager(self, pipeline: Pipeline) -> FluxDenoiser:
        """The transformer on torch."""
        return FluxDenoiser(pipeline.transformer)

    def takes_mask(self, pipeline: Pipeline) -> bool:
        """False: inpainting models are not supported."""
        return False

    def set_timesteps(self, pipeline: Pipeline, scheduler: NoiseScheduler, steps: int, shape: tuple[int, ...]) -> None:
        """Evenly spaced sigmas, shifted by the image size if the checkpoint's scheduler has dynamic shifting."""
        flow: Any = scheduler
        tokens = (shape[-2] // PATCH) * (shape[-1] // PATCH)
        flow.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps), mu=shift(flow.config, tokens, max_shift=1.15))


class FluxDenoiser:
    """A ``FluxTransformer2DModel`` on torch.

    Args:
        transformer: each call uses it in its current state, including LoRAs.
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
        """See :meth:`Denoiser.denoise`; ControlNets are not supported."""
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
            **conditioning.extra_kwargs,
        )[0]
        return unpack(tokens, height, width)


def pack(latents: torch.Tensor) -> torch.Tensor:
    """Planes [N, channels, h, w] to one token for each patch, [N, h * w / 4, channels * 4]."""
    count, channels, height, width = latents.shape
    patches = latents.reshape(count, channels, height // PATCH, PATCH, width // PATCH, PATCH)
    return patches.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


def unpack(tokens: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """The inverse of :func:`pack`; ``height`` and ``width`` count patches."""
    patches = tokens.reshape(len(tokens), height, width, -1, PATCH, PATCH)
    return patches.permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3)


def positions(height: int, width: int) -> torch.Tensor:
    """The position ids [height * width, 3] of all patches: 0, row, column."""
    grid = torch.cartesian_prod(torch.zeros(1), torch.arange(height).float(), torch.arange(width).float())
    return grid.reshape(-1, 3)


FAMILY = Flux()

"""PixArt-Sigma: a transformer on latents of SDXL's VAE, trained on a noise schedule, with T5 as its text encoder."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import torch
from diffusers import PixArtSigmaPipeline

from models.catalog.families import PIXART_SIGMA
from models.diffusion.denoiser import Conditioning, Residuals
from models.diffusion.families.family import Family
from models.diffusion.families.flow import check_length
from models.diffusion.pipeline import Pipeline
from models.diffusion.prompt_inputs import PromptInputs
from models.errors import DrawingFailed

T5_TOKENS = 300
"""The number of prompt tokens, the pipeline's default."""
_MASK = "encoder_attention_mask"


class PixArtSigma(Family):
    """As ``PixArtSigmaPipeline``, without its cleaning of captions and without its list of sizes.

    Prompts are plain text, in lower case as the pipeline makes them.
    """

    name = PIXART_SIGMA
    pipeline_class = PixArtSigmaPipeline
    options = MappingProxyType({})
    module = "transformer"

    def validate(self, pipeline: Pipeline) -> str | None:
        """Refuse PixArt-Alpha, whose larger models take the size as an input."""
        if pipeline.transformer.use_additional_conditions:
            return "its transformer takes the size as an input, as that of PixArt-Alpha"
        return None

    def encode(
        self, pipeline: Pipeline, inputs: PromptInputs, size: tuple[int, int], device: torch.device
    ) -> Conditioning:
        """T5's hidden states and which of them are padding, the negative prompt's first; the size has no effect.

        Raises:
            DrawingFailed: a prompt is too long for T5.
        """
        is_guided = inputs.guidance_scale > 1 or inputs.is_composed
        prompts = [inputs.negative_prompt, *inputs.prompts] if is_guided else inputs.prompts
        return Conditioning.cat([_encode(pipeline, prompt, device) for prompt in prompts])

    def eager(self, pipeline: Pipeline) -> PixArtDenoiser:
        """The transformer on torch."""
        return PixArtDenoiser(pipeline.transformer)


def _encode(pipeline: Pipeline, prompt: str, device: torch.device) -> Conditioning:
    check_length(pipeline.tokenizer, prompt, T5_TOKENS)
    states, mask, _, _ = pipeline.encode_prompt(
        prompt, do_classifier_free_guidance=False, device=device, max_sequence_length=T5_TOKENS
    )
    return Conditioning(states, extra_kwargs={_MASK: mask})


class PixArtDenoiser:
    """A ``PixArtTransformer2DModel`` on torch.

    Args:
        transformer: each call uses it in its current state.
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
        """See :meth:`Denoiser.denoise`; ControlNets are not supported, and a learned variance is left out."""
        if residuals is not None:
            raise DrawingFailed("PixArt-Sigma models take no ControlNets")
        output: torch.Tensor = self._transformer(
            latents,
            timestep=timesteps,
            encoder_hidden_states=conditioning.hidden_states,
            encoder_attention_mask=conditioning.extra_kwargs[_MASK],
            added_cond_kwargs={"resolution": None, "aspect_ratio": None},
            return_dict=False,
        )[0]
        return output[:, : latents.shape[1]]


FAMILY = PixArtSigma()

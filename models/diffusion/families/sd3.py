"""Stable Diffusion 3 and 3.5: a transformer, two CLIP text encoders, and optionally T5."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import torch
from diffusers import StableDiffusion3Pipeline

from models.catalog.bounds import T5_TOKENS_MAX
from models.catalog.families import SD3
from models.diffusion.denoiser import Conditioning, Residuals
from models.diffusion.families.flow import FlowMatching, check_length, shift
from models.diffusion.pipeline import Pipeline
from models.diffusion.prompt_inputs import PromptInputs
from models.diffusion.sampling import NoiseScheduler
from models.errors import DrawingFailed

T5_TOKENS = 256
"""The number of tokens that prompts are padded to for T5, the pipelines' default; longer ones to the most it takes."""


class StableDiffusion3(FlowMatching):
    """As ``StableDiffusion3Pipeline``, ``StableDiffusion3Img2ImgPipeline`` and ``StableDiffusion3InpaintPipeline``.

    Inpainting in diffusers 0.42 decodes without the VAE's shift, which is a bug; here the shift is added.
    """

    name = SD3
    pipeline_class = StableDiffusion3Pipeline
    options = MappingProxyType({"image_encoder": None, "feature_extractor": None})
    optional = ("text_encoder_3", "tokenizer_3")

    def validate(self, pipeline: Pipeline) -> str | None:
        """Always ``None``: ``StableDiffusion3Pipeline`` itself refuses other pipelines."""
        return None

    def encode(
        self, pipeline: Pipeline, inputs: PromptInputs, size: tuple[int, int], device: torch.device
    ) -> Conditioning:
        """The hidden states of all text encoders and the pooled embeddings of both CLIPs, the negative prompt's first.

        Prompts are plain text, without weights. ``clip_skip`` applies to the prompt only, as in diffusers, and counts
        as it does for SDXL, which has the same CLIPs.

        Raises:
            DrawingFailed: a prompt is too long, or a CLIP has no such layer.
        """
        length = _checked_length(pipeline, inputs)
        tokens = T5_TOKENS if length <= T5_TOKENS else T5_TOKENS_MAX
        clip_skip = None if inputs.clip_skip <= 2 else inputs.clip_skip - 2
        encoded = [_encode(pipeline, prompt, tokens, clip_skip, device) for prompt in inputs.prompts]
        if inputs.guidance_scale > 1 or inputs.is_composed:
            encoded.insert(0, _encode(pipeline, inputs.negative_prompt, tokens, None, device))
        return Conditioning.cat(encoded)

    def eager(self, pipeline: Pipeline) -> SD3Denoiser:
        """The transformer on torch."""
        return SD3Denoiser(pipeline.transformer)

    def set_timesteps(self, pipeline: Pipeline, scheduler: NoiseScheduler, steps: int, shape: tuple[int, ...]) -> None:
        """The scheduler's timesteps, shifted by the image size if it has dynamic shifting."""
        flow: Any = scheduler
        if not flow.config.get("use_dynamic_shifting"):
            flow.set_timesteps(steps)
            return
        patch: int = pipeline.transformer.config.patch_size
        tokens = (shape[-2] // patch) * (shape[-1] // patch)
        flow.set_timesteps(steps, mu=shift(flow.config, tokens, max_shift=1.16))


def _encode(pipeline: Pipeline, prompt: str, tokens: int, clip_skip: int | None, device: torch.device) -> Conditioning:
    states, _, pooled, _ = pipeline.encode_prompt(
        prompt, None, None, device=device, do_classifier_free_guidance=False, clip_skip=clip_skip,
        max_sequence_length=tokens,
    )  # fmt: skip
    return Conditioning(states, extra_kwargs={"pooled_projections": pooled})


def _checked_length(pipeline: Pipeline, inputs: PromptInputs) -> int:
    """The number of tokens of the longer prompt."""
    has_t5 = pipeline.text_encoder_3 is not None
    tokenizer = pipeline.tokenizer_3 if has_t5 else pipeline.tokenizer
    limit = T5_TOKENS_MAX if has_t5 else tokenizer.model_max_length
    length = max(check_length(tokenizer, prompt, limit) for prompt in (*inputs.prompts, inputs.negative_prompt))
    layers = min(each.config.num_hidden_layers for each in (pipeline.text_encoder, pipeline.text_encoder_2))
    if not 1 <= inputs.clip_skip <= layers:
        raise DrawingFailed(f"clip_skip must be from 1 to {layers} for this model, not {inputs.clip_skip}", "clip_skip")
    return length


class SD3Denoiser:
    """An ``SD3Transformer2DModel`` on torch.

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
            raise DrawingFailed("Stable Diffusion 3 models take no ControlNets")
        output: torch.Tensor = self._transformer(
            hidden_states=latents,
            timestep=timesteps,
            encoder_hidden_states=conditioning.hidden_states,
            return_dict=False,
            **conditioning.extra_kwargs,
        )[0]
        return output


FAMILY = StableDiffusion3()

"""Stable Diffusion 3 and 3.5: a transformer on planes of latents, two CLIP text encoders, and T5 if it is there."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import torch
from diffusers import StableDiffusion3Pipeline

from models.catalog.families import SD3
from models.diffusion.denoiser import Conditioning, Residuals
from models.diffusion.families.family import Wording
from models.diffusion.families.flow import FlowMatching, check_length, shift
from models.diffusion.pipeline import Pipeline
from models.diffusion.sampling import Scheduler
from models.errors import DrawingFailed

T5_TOKENS = 256
"""How many tokens of the prompt T5 reads, the pipelines' default."""


class StableDiffusion3(FlowMatching):
    """As ``StableDiffusion3Pipeline``, ``StableDiffusion3Img2ImgPipeline`` and ``StableDiffusion3InpaintPipeline``.

    diffusers 0.42's inpainting forgets the VAE's shift when it decodes; here it is added, as everywhere else.
    """

    name = SD3
    pipeline_class = StableDiffusion3Pipeline
    options = MappingProxyType({"image_encoder": None, "feature_extractor": None})
    optional = ("text_encoder_3", "tokenizer_3")

    def misfit(self, pipeline: Pipeline) -> str | None:
        """Whatever ``StableDiffusion3Pipeline`` can be loaded from is one."""
        return None

    def encode(self, pipeline: Pipeline, wording: Wording, size: tuple[int, int], device: torch.device) -> Conditioning:
        """All text encoders' hidden states, and the CLIPs' pooled embeddings, each the negative prompt's first.

        Prompts are read as they are written, without weights. A clip skip holds for the prompt alone, as in diffusers;
        it is counted as SDXL's, whose CLIPs these are.

        Raises:
            DrawingFailed: a prompt is longer than any encoder reads, or a CLIP has no such layer.
        """
        _check(pipeline, wording)
        guided = wording.guidance_scale > 1
        states, negative_states, pooled, negative_pooled = pipeline.encode_prompt(
            wording.prompt, None, None,
            device=device,
            do_classifier_free_guidance=guided,
            negative_prompt=wording.negative_prompt,
            clip_skip=None if wording.clip_skip <= 2 else wording.clip_skip - 2,
            max_sequence_length=T5_TOKENS,
        )  # fmt: skip
        if not guided:
            return Conditioning(states, further={"pooled_projections": pooled})
        further = {"pooled_projections": torch.cat([negative_pooled, pooled])}
        return Conditioning(torch.cat([negative_states, states]), further=further)

    def eager(self, pipeline: Pipeline) -> SD3Denoiser:
        """The transformer as torch runs it."""
        return SD3Denoiser(pipeline.transformer)

    def lay_out(self, pipeline: Pipeline, scheduler: Scheduler, steps: int, shape: tuple[int, ...]) -> None:
        """As the scheduler has it, shifted by the image's size if it does so."""
        flow: Any = scheduler
        if not flow.config.get("use_dynamic_shifting"):
            flow.set_timesteps(steps)
            return
        patch: int = pipeline.transformer.config.patch_size
        tokens = (shape[-2] // patch) * (shape[-1] // patch)
        flow.set_timesteps(steps, mu=shift(flow.config, tokens, max_shift=1.16))


def _check(pipeline: Pipeline, wording: Wording) -> None:
    has_t5 = pipeline.text_encoder_3 is not None
    tokenizer = pipeline.tokenizer_3 if has_t5 else pipeline.tokenizer
    limit = T5_TOKENS if has_t5 else tokenizer.model_max_length
    for prompt in (wording.prompt, wording.negative_prompt):
        check_length(tokenizer, prompt, limit)
    layers = min(each.config.num_hidden_layers for each in (pipeline.text_encoder, pipeline.text_encoder_2))
    if not 1 <= wording.clip_skip <= layers:
        raise DrawingFailed(f"clip_skip {wording.clip_skip}: this model's text encoders have layers 1 to {layers}")


class SD3Denoiser:
    """An ``SD3Transformer2DModel``.

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
            raise DrawingFailed("Stable Diffusion 3 models take no ControlNets")
        output: torch.Tensor = self._transformer(
            hidden_states=latents,
            timestep=timesteps,
            encoder_hidden_states=conditioning.hidden_states,
            return_dict=False,
            **conditioning.further,
        )[0]
        return output


FAMILY = StableDiffusion3()

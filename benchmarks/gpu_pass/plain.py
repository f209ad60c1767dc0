"""The plain diffusers pipelines on a checkpoint's weights: the engine is compared with them."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import diffusers
import torch
from PIL import Image

from benchmarks.gpu_pass.surface import (
    FLUX,
    IMG2IMG,
    INPAINT,
    PIXART_SIGMA,
    SD3,
    SDXL,
    TXT2IMG,
    Checkpoint,
    DrawParams,
    build_scheduler,
)

_CLASSES = {
    (False, TXT2IMG): diffusers.StableDiffusionPipeline,
    (False, IMG2IMG): diffusers.StableDiffusionImg2ImgPipeline,
    (False, INPAINT): diffusers.StableDiffusionInpaintPipeline,
    (True, TXT2IMG): diffusers.StableDiffusionXLPipeline,
    (True, IMG2IMG): diffusers.StableDiffusionXLImg2ImgPipeline,
}
_TRANSFORMERS = {
    FLUX: diffusers.FluxPipeline, SD3: diffusers.StableDiffusion3Pipeline, PIXART_SIGMA: diffusers.PixArtSigmaPipeline,
}  # fmt: skip
"""The families whose denoiser is a transformer; only txt2img is drawn with them."""


def pipeline_of(checkpoint: Checkpoint, kind: str = TXT2IMG) -> Any:
    """A new pipeline that shares the checkpoint's weights but not its scheduler."""
    shared: Any = checkpoint.pipeline
    is_sdxl = checkpoint.spec.family == SDXL
    own: dict[str, Any] = {"add_watermarker": False} if is_sdxl else {"requires_safety_checker": False}
    if is_sdxl:
        own["force_zeros_for_empty_prompt"] = shared.config.force_zeros_for_empty_prompt
    components = dict(shared.components)
    if shared.vae.dtype != shared.unet.dtype:  # the engine keeps SDXL's VAE in float32; the plain pipeline upcasts it
        components["vae"] = copy.deepcopy(shared.vae).to(shared.unet.dtype)
    pipeline = _CLASSES[is_sdxl, kind](**components, **own)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@torch.inference_mode()
def call(pipeline: Any, checkpoint: Checkpoint, batch: Sequence[DrawParams], **extra_kwargs: Any) -> list[Image.Image]:
    """Draw all of ``batch`` in one call; their samplers and steps are equal, and each has its own generator."""
    first = batch[0]
    pipeline.scheduler = build_scheduler(first.sampler, checkpoint.pipeline.scheduler.config, first.seed)
    images: list[Image.Image] = pipeline(
        [params.prompt for params in batch],
        negative_prompt=[params.negative_prompt for params in batch] if any(p.negative_prompt for p in batch) else None,
        num_inference_steps=first.num_inference_steps,
        guidance_scale=first.guidance_scale,
        generator=[torch.Generator().manual_seed(params.seed) for params in batch],
        **extra_kwargs,
    ).images
    return images


def draw(checkpoint: Checkpoint, kind: str, params: DrawParams, sources: Mapping[str, Image.Image]) -> Image.Image:
    """Draw one image alone; the unmasked part of ``sources`` is pasted over an inpainted image."""
    if checkpoint.spec.family in _TRANSFORMERS:
        return _draw_with_transformer(checkpoint, params)
    size = {"width": params.width, "height": params.height}
    extra_kwargs: dict[str, Any] = size if params.image is None else {"strength": params.strength}
    if params.image is not None:
        extra_kwargs["image"] = sources[params.image]
    if params.mask is not None:
        extra_kwargs |= {"mask_image": sources[params.mask.image], **size}
    (image,) = call(pipeline_of(checkpoint, kind), checkpoint, [params], **extra_kwargs)
    if params.mask is None:
        return image
    return Image.composite(image, sources[params.image or ""], sources[params.mask.image])


@torch.inference_mode()
def _draw_with_transformer(checkpoint: Checkpoint, params: DrawParams) -> Image.Image:
    """Draw a txt2img job, with the arguments by which each pipeline does what the engine does."""
    family, shared = checkpoint.spec.family, checkpoint.pipeline
    scheduler = build_scheduler(params.sampler, shared.scheduler.config, params.seed)
    pipeline: Any = _TRANSFORMERS[family](**{**shared.components, "scheduler": scheduler})
    pipeline.set_progress_bar_config(disable=True)
    own: dict[str, Any] = {} if family == FLUX else {"negative_prompt": params.negative_prompt or None}
    if family == PIXART_SIGMA:
        own = {"negative_prompt": params.negative_prompt, "clean_caption": False, "use_resolution_binning": False}
    image: Image.Image = pipeline(
        prompt=params.prompt, guidance_scale=params.guidance_scale, num_inference_steps=params.num_inference_steps,
        width=params.width, height=params.height, generator=torch.Generator().manual_seed(params.seed), **own,
    ).images[0]  # fmt: skip
    return image

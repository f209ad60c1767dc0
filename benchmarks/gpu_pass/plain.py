"""The plain diffusers pipelines on a checkpoint's weights: what the engine is compared with."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import diffusers
import torch
from PIL import Image

from benchmarks.gpu_pass.surface import IMG2IMG, INPAINT, SDXL, TXT2IMG, Checkpoint, DrawParams, build_scheduler

_CLASSES = {
    (False, TXT2IMG): diffusers.StableDiffusionPipeline,
    (False, IMG2IMG): diffusers.StableDiffusionImg2ImgPipeline,
    (False, INPAINT): diffusers.StableDiffusionInpaintPipeline,
    (True, TXT2IMG): diffusers.StableDiffusionXLPipeline,
    (True, IMG2IMG): diffusers.StableDiffusionXLImg2ImgPipeline,
}


def pipeline_of(checkpoint: Checkpoint, kind: str = TXT2IMG) -> Any:
    """A pipeline of its own, so that its scheduler may be set, on the checkpoint's weights."""
    shared: Any = checkpoint.pipeline
    is_sdxl = checkpoint.spec.family == SDXL
    own: dict[str, Any] = {"add_watermarker": False} if is_sdxl else {"requires_safety_checker": False}
    if is_sdxl:
        own["force_zeros_for_empty_prompt"] = shared.config.force_zeros_for_empty_prompt
    components = dict(shared.components)
    if shared.vae.dtype != shared.unet.dtype:  # the engine keeps SDXL's VAE in float32, the plain pipeline upcasts it
        components["vae"] = copy.deepcopy(shared.vae).to(shared.unet.dtype)
    pipeline = _CLASSES[is_sdxl, kind](**components, **own)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@torch.inference_mode()
def call(pipeline: Any, checkpoint: Checkpoint, batch: Sequence[DrawParams], **further: Any) -> list[Image.Image]:
    """One call for all of ``batch``, which have sampler and steps in common, each with a generator of its own."""
    first = batch[0]
    pipeline.scheduler = build_scheduler(first.sampler, checkpoint.pipeline.scheduler.config, first.seed)
    images: list[Image.Image] = pipeline(
        [params.prompt for params in batch],
        negative_prompt=[params.negative_prompt for params in batch] if any(p.negative_prompt for p in batch) else None,
        num_inference_steps=first.num_inference_steps,
        guidance_scale=first.guidance_scale,
        generator=[torch.Generator().manual_seed(params.seed) for params in batch],
        **further,
    ).images
    return images


def draw(checkpoint: Checkpoint, kind: str, params: DrawParams, sources: Mapping[str, Image.Image]) -> Image.Image:
    """The image that one call for ``params`` alone draws."""
    size = {"width": params.width, "height": params.height}
    further: dict[str, Any] = size if params.image is None else {"strength": params.strength}
    if params.image is not None:
        further["image"] = sources[params.image]
    if params.mask is not None:
        further |= {"mask_image": sources[params.mask.image], **size}
    (image,) = call(pipeline_of(checkpoint, kind), checkpoint, [params], **further)
    if params.mask is None:
        return image
    return Image.composite(image, sources[params.image or ""], sources[params.mask.image])

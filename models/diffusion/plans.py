"""From task to image: what each kind of job needs, does and waits for, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from PIL.Image import Image

from models.catalog.auxiliary import AuxiliaryModel, AuxiliaryModels
from models.catalog.catalog import Catalog, ModelSpec
from models.catalog.families import FAMILIES
from models.diffusion.begin import Canvas, Sampling, begin, go_on, stop_at
from models.diffusion.canvas import Prepared, fit, over_image, over_mask, resized
from models.diffusion.checkpoint import Checkpoint
from models.diffusion.control.controlnet import ControlGuide, prepare_condition
from models.diffusion.control.preprocessors import preprocess
from models.diffusion.denoiser import Conditioning
from models.diffusion.embed_cache import EmbeddingCache
from models.diffusion.loads import (
    checkpoint_load,
    controlnet_load,
    face_restorer_load,
    lora_load,
    upscaler_load,
    weights_of,
)
from models.diffusion.upscaling.faces import FaceRestoration
from models.diffusion.upscaling.upscaling import FILTERS, Resizing, Upscaling
from models.diffusion.wording import wording_of
from models.diffusion.work import Load, Plan, Task, Work
from models.errors import DrawingFailed, ModelUnavailable
from models.jobs.params import Control, DrawParams, FaceRestoreParams, SecondPass, UpscaleParams

Size = tuple[int, int]
ENCODINGS_BYTES = 256 << 20
"""How much prompts' encodings may take that are kept for the next job with the same words."""


@dataclass
class Tools:
    """What all plans of one engine share."""

    load: Callable[[ModelSpec], Checkpoint]
    device: torch.device
    encodings: EmbeddingCache = field(default_factory=lambda: EmbeddingCache(ENCODINGS_BYTES))


def plan(task: Task, tools: Tools) -> Plan:
    """The way of ``task``; failures are raised where they happen on it."""
    match task.params:
        case DrawParams() as params:
            return _draw(task, params, tools)
        case UpscaleParams() as params:
            return _enlarge(task.images[params.image], params.scale, params.upscaler, task.catalog, tools)
        case FaceRestoreParams() as params:
            return _restore_faces(task, params, tools)


def _draw(task: Task, params: DrawParams, tools: Tools) -> Plan:
    """An image by a diffusion model: one pass, with a refiner if there is one, and a second pass if there is to be."""
    spec = task.catalog[params.model]
    base: Checkpoint = yield checkpoint_load(spec, tools.load)
    uses = [(_known(task.catalog.loras, use.name), use.weight) for use in params.loras]
    checkpoint: Checkpoint = (yield lora_load(base, uses)) if uses else base
    asked = params.width, params.height
    prepared = _prepare(task, params, asked, spec.drawn_size(*asked))
    image: Image = yield from _one_pass(task, params, tools, checkpoint, spec.drawn_size(*asked), prepared)
    if params.second_pass is None:
        return image
    return (yield from _draw_again(task, params, params.second_pass, tools, checkpoint, image))


def _prepare(task: Task, params: DrawParams, asked: Size, drawn: Size) -> Prepared:
    """What is drawn over, if anything is; and how what was drawn becomes what was asked for."""
    if params.image is None:
        return Prepared(None, lambda image: resized(image, asked))
    image = task.images[params.image]
    if params.mask is None:
        return over_image(image, asked, drawn, params.resize_mode)
    return over_mask(image, task.images[params.mask.image], params.mask, asked, drawn, params.resize_mode)


def _one_pass(
    task: Task, params: DrawParams, tools: Tools, checkpoint: Checkpoint, size: Size, prepared: Prepared
) -> Plan:
    """From noise, or a canvas, to the finished image."""
    sampling = _sampling(params)
    conditioning = _conditioning(task, params, tools, checkpoint, size)
    controls = yield from _guides(task, params, checkpoint, size, prepared.canvas)
    denoising = begin(
        checkpoint,
        sampling,
        size,
        conditioning,
        prepared.canvas,
        controls=controls,
        reuse_interval=params.reuse_interval,
    )
    if params.refiner is None:
        image: Image = yield denoising
        return prepared.finish(image)
    latents = yield stop_at(denoising, params.refiner.start)
    refiner: Checkpoint = yield checkpoint_load(task.catalog[params.refiner.model], tools.load)
    conditioning = _conditioning(task, params, tools, refiner, size)
    image = yield go_on(refiner, sampling, size, conditioning, latents, params.refiner.start)
    return prepared.finish(image)


def _draw_again(
    task: Task, params: DrawParams, second: SecondPass, tools: Tools, checkpoint: Checkpoint, image: Image
) -> Plan:
    """Enlarge ``image`` and draw over it, with the same words, seed and helpers."""
    image = yield from _enlarge(image, second.scale, second.upscaler, task.catalog, tools)
    grid_px = FAMILIES[checkpoint.spec.family].size_multiple_px
    asked = _on_grid(image.width, grid_px), _on_grid(image.height, grid_px)
    drawn = checkpoint.spec.drawn_size(*asked)
    again = replace(
        params,
        strength=second.strength,
        num_inference_steps=second.num_inference_steps or params.num_inference_steps,
        refiner=None,
    )
    prepared = over_image(image, asked, drawn, "stretch")
    return (yield from _one_pass(task, again, tools, checkpoint, drawn, prepared))


def _on_grid(side_px: int, grid_px: int) -> int:
    return max(grid_px, side_px // grid_px * grid_px)


def _sampling(params: DrawParams) -> Sampling:
    return Sampling(
        sampler=params.sampler,
        num_inference_steps=params.num_inference_steps,
        guidance_scale=params.guidance_scale,
        seed=params.seed,
        strength=params.strength,
    )


def _conditioning(task: Task, params: DrawParams, tools: Tools, checkpoint: Checkpoint, size: Size) -> Conditioning:
    wording = wording_of(params, task.catalog)
    key = (weights_of(checkpoint.spec), params.loras, wording, frozenset(wording.embeddings.values()), size)
    family, pipeline, device = checkpoint.family, checkpoint.pipeline, checkpoint.device
    return tools.encodings.get(key, lambda: family.encode(pipeline, wording, size, device))


def _guides(
    task: Task, params: DrawParams, checkpoint: Checkpoint, size: Size, canvas: Canvas | None
) -> Generator[Load | Work, Any, tuple[ControlGuide, ...]]:
    guides = []
    for control in params.controls:
        model = yield controlnet_load(_known(task.catalog.controlnets, control.model), checkpoint)
        image = _condition(task, params, control, size, canvas)
        guides.append(
            ControlGuide(
                model=model,
                condition=prepare_condition(image, checkpoint.dtype, checkpoint.device),
                weight=control.weight,
                start=control.start,
                end=control.end,
                mode=control.mode,
            )
        )
    return tuple(guides)


def _condition(task: Task, params: DrawParams, control: Control, size: Size, canvas: Canvas | None) -> Image:
    if control.image is not None:
        image = fit(task.images[control.image], size, control.resize_mode)
    elif canvas is not None:
        image = canvas.image
    else:
        raise DrawingFailed(f"ControlNet {control.model!r} has no image to go by")
    return preprocess(
        control.preprocessor,
        image,
        size=size,
        threshold_a=control.threshold_a,
        threshold_b=control.threshold_b,
        seed=params.seed,
        weights={name: extra.path for name, extra in task.catalog.preprocessors.items()},
    )


def _enlarge(image: Image, scale: float, upscaler: str, catalog: Catalog, tools: Tools) -> Plan:
    if upscaler in FILTERS:
        enlarged: Image = yield Resizing(image, scale, upscaler)
    else:
        loaded = yield upscaler_load(_known(catalog.upscalers, upscaler), tools.device)
        enlarged = yield Upscaling(image, scale, loaded)
    return enlarged


def _restore_faces(task: Task, params: FaceRestoreParams, tools: Tools) -> Plan:
    restorer, detector = (_known(task.catalog.faces, name) for name in ("restorer", "detector"))
    loaded = yield face_restorer_load(restorer, detector, tools.device)
    restored: Image = yield FaceRestoration(task.images[params.image], loaded)
    return restored


def _known(extras: AuxiliaryModels, name: str) -> AuxiliaryModel:
    """A helper that was in the catalog when the job was accepted."""
    extra = extras.resolve(name)
    if extra is None:
        raise ModelUnavailable(f"{name!r} is in the catalog no longer")
    return extra

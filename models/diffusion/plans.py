"""Plans: for each kind of job, the steps from task to result as one generator that reads from top to bottom."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch
from PIL.Image import Image

from models.catalog.auxiliary import AuxiliaryModel, AuxiliaryModels
from models.catalog.catalog import Catalog, ModelSpec
from models.catalog.families import FAMILIES
from models.catalog.samplers import SAMPLERS
from models.diffusion.canvas import Canvas, Prepared, over_image, over_mask, resizing
from models.diffusion.checkpoint import Checkpoint
from models.diffusion.control.controlnet import ControlGuide, prepare_condition
from models.diffusion.control.preprocessors import preprocess
from models.diffusion.denoiser import Conditioning
from models.diffusion.embed_cache import EmbeddingCache
from models.diffusion.latents import Sampling, continue_from, end_early, prepare_latents
from models.diffusion.load_requests import (
    checkpoint_request,
    controlnet_request,
    face_restorer_request,
    lora_request,
    upscaler_request,
)
from models.diffusion.prompt_inputs import prompt_inputs_of
from models.diffusion.sampling import scheduler_class
from models.diffusion.upscaling.faces import FaceRestoration
from models.diffusion.upscaling.upscaling import FILTERS, Resizing, Upscaling
from models.diffusion.work import LoadRequest, Plan, PlanPart, Task, load, on_host, run
from models.errors import DrawingFailed, ModelUnavailable
from models.jobs.composition import compose
from models.jobs.kinds import find_kind, resolve
from models.jobs.params import Control, DrawParams, FaceRestoreParams, SecondPass, UpscaleParams
from models.media.fitting import fit

Size = tuple[int, int]
ENCODINGS_BYTES = 256 << 20
"""The memory for encoded prompts, kept for later jobs with the same prompt."""
LARGE_PX = 1 << 22
"""Work on input images with more pixels takes up to seconds."""


@dataclass
class Tools:
    """What all plans of one engine share."""

    load: Callable[[ModelSpec], Checkpoint]
    device: torch.device
    packages: Path | None = None
    """The folder of deployed packages."""
    encodings: EmbeddingCache = field(default_factory=lambda: EmbeddingCache(ENCODINGS_BYTES))

    def checkpoint(self, spec: ModelSpec) -> LoadRequest[Checkpoint]:
        """Request the checkpoint of ``spec``; packages are for the CPU."""
        return checkpoint_request(spec, self.load, self.packages if self.device.type == "cpu" else None)


def plan(task: Task, tools: Tools) -> Plan:
    """The plan for the kind of ``task``; it raises every failure when it runs, none when it is made."""
    path = find_kind(task.kind).plan
    if path is None:
        raise DrawingFailed(f"jobs of kind {task.kind} do not run on the diffusion engine")
    make_plan: Callable[[Task, Tools], Plan] = resolve(path)
    return (yield from make_plan(task, tools))


def draw(task: Task, tools: Tools) -> Plan:
    """Draw an image with a diffusion model: one pass, perhaps with a refiner, and perhaps a second pass."""
    params = task.params
    assert isinstance(params, DrawParams)
    spec = task.catalog[params.model]
    base = yield from load(tools.checkpoint(spec))
    loras = [(_find(task.catalog.loras, use.name), use.weights) for use in params.loras]
    checkpoint = (yield from load(lora_request(base, loras))) if loras else base
    size = params.width, params.height
    drawn_size = spec.drawn_size(*size)
    prepared = yield from _prepare(task, params, size, drawn_size)
    image = yield from _one_pass(task, params, tools, checkpoint, drawn_size, prepared, _second_steps(params))
    if params.second_pass is None:
        return image
    return (yield from _second_pass(task, params, params.second_pass, tools, checkpoint, image))


def upscale(task: Task, tools: Tools) -> Plan:
    """Enlarge an image, with an upscaler or by plain resampling."""
    params = task.params
    assert isinstance(params, UpscaleParams)
    image = task.images[params.image]
    return (yield from _enlarge(image, params.scale, params.upscaler, task.catalog, tools))


def restore_faces(task: Task, tools: Tools) -> Plan:
    """Restore every face in an image."""
    params = task.params
    assert isinstance(params, FaceRestoreParams)
    restorer, detector = (_find(task.catalog.faces, name) for name in ("restorer", "detector"))
    loaded = yield from load(face_restorer_request(restorer, detector, tools.device))
    work = yield from on_host(lambda: FaceRestoration(task.images[params.image], loaded))
    return (yield from run(work))


def _prepare(task: Task, params: DrawParams, size: Size, drawn_size: Size) -> PlanPart[Prepared]:
    """The canvas, if the job has an input image, and how the drawn image becomes one of the requested ``size``."""
    if params.image is None:
        return Prepared(None, resizing(drawn_size, size))
    image, mask, mode = task.images[params.image], params.mask, params.resize_mode
    is_long = _is_large(task)
    if mask is None:
        return (yield from on_host(lambda: over_image(image, size, drawn_size, mode), is_long=is_long))
    mask_image = task.images[mask.image]
    made = on_host(lambda: over_mask(image, mask_image, mask, size, drawn_size, mode), is_long=is_long)
    return (yield from made)


def _finish(task: Task, prepared: Prepared, drawn: Image) -> PlanPart[Image]:
    """The image that the request asks for, from the ``drawn`` one."""
    finish = prepared.finish
    return drawn if finish is None else (yield from on_host(lambda: finish(drawn), is_long=_is_large(task)))


def _is_large(task: Task) -> bool:
    """Whether work on the whole input image takes long; most are reduced to the size that is drawn before."""
    return any(image.width * image.height > LARGE_PX for image in task.images.values())


def _one_pass(
    task: Task,
    params: DrawParams,
    tools: Tools,
    checkpoint: Checkpoint,
    size: Size,
    prepared: Prepared,
    ahead: int = 0,
) -> PlanPart[Image]:
    """From noise, or a canvas, to the finished image; about ``ahead`` steps follow this pass."""
    sampling = _sampling(params)
    conditioning = _conditioning(task, params, tools, checkpoint, size)
    controls = yield from _load_controls(task, params, checkpoint, size, prepared.canvas)
    denoising = prepare_latents(
        checkpoint,
        sampling,
        size,
        conditioning,
        prepared.canvas,
        controls=controls,
        reuse_interval=params.reuse_interval,
    )
    if params.refiner is None:
        return (yield from _finish(task, prepared, (yield from run(denoising, ahead))))
    first, steps = end_early(denoising, params.refiner.start), denoising.steps
    latents = yield from run(first, ahead + max(steps - first.steps, 0))
    refiner = yield from load(tools.checkpoint(task.catalog[params.refiner.model]))
    conditioning = _conditioning(task, params, tools, refiner, size)
    refining = continue_from(refiner, sampling, size, conditioning, latents, params.refiner.start)
    return (yield from _finish(task, prepared, (yield from run(refining, ahead))))


def _second_steps(params: DrawParams) -> int:
    """About how many steps the second pass takes."""
    second, sampler = params.second_pass, SAMPLERS.get(params.sampler)
    if second is None:
        return 0
    steps = max(1, int((second.num_inference_steps or params.num_inference_steps) * second.strength))
    is_second_order = sampler is not None and scheduler_class(sampler.scheduler).order == 2
    return 2 * steps - 1 if is_second_order else steps  # two calls of the model for each step but the last


def _second_pass(
    task: Task, params: DrawParams, second: SecondPass, tools: Tools, checkpoint: Checkpoint, image: Image
) -> PlanPart[Image]:
    """Enlarge ``image`` and draw over it with the same prompts, seed, LoRAs and ControlNets, but without a refiner."""
    image = yield from _enlarge(image, second.scale, second.upscaler, task.catalog, tools, _second_steps(params))
    grid_px = FAMILIES[checkpoint.spec.family].size_multiple_px
    size = _on_grid(image.width, grid_px), _on_grid(image.height, grid_px)
    drawn_size = checkpoint.spec.drawn_size(*size)
    again = replace(
        params,
        strength=second.strength,
        num_inference_steps=second.num_inference_steps or params.num_inference_steps,
        refiner=None,
    )
    prepared = yield from on_host(lambda: over_image(image, size, drawn_size, "stretch"))
    return (yield from _one_pass(task, again, tools, checkpoint, drawn_size, prepared))


def _on_grid(side_px: int, grid_px: int) -> int:
    return max(grid_px, side_px // grid_px * grid_px)


def _sampling(params: DrawParams) -> Sampling:
    return Sampling(
        sampler=params.sampler,
        num_inference_steps=params.num_inference_steps,
        guidance_scale=params.guidance_scale,
        seed=params.seed,
        variation=params.variation,
        strength=params.strength,
        part_weights=compose(params.prompt).weights,
    )


def _conditioning(task: Task, params: DrawParams, tools: Tools, checkpoint: Checkpoint, size: Size) -> Conditioning:
    """The encoded prompts, from the cache if an earlier job had the same."""
    inputs = prompt_inputs_of(params, task.catalog)
    key = (checkpoint.number, params.loras, inputs, frozenset(inputs.embeddings.values()), size)
    return tools.encodings.get(key, lambda: checkpoint.encode(inputs, size))


def _load_controls(
    task: Task, params: DrawParams, checkpoint: Checkpoint, size: Size, canvas: Canvas | None
) -> PlanPart[tuple[ControlGuide, ...]]:
    """Load the ControlNets and prepare their condition images."""
    guides = []
    for control in params.controls:
        controlnet = _find(task.catalog.controlnets, control.model)
        model = yield from load(controlnet_request(controlnet, checkpoint))
        image = yield from on_host(partial(_condition, task, params, control, size, canvas))
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
    """The condition image of ``control``: its own image, or the canvas, after its preprocessor."""
    if control.image is not None:
        image = fit(task.images[control.image], size, control.resize_mode)
    elif canvas is not None:
        image = canvas.image
    else:
        raise DrawingFailed(f"ControlNet {control.model!r} needs an image: its own, or the job's input image")
    return preprocess(
        control.preprocessor,
        image,
        size=size,
        threshold_a=control.threshold_a,
        threshold_b=control.threshold_b,
        seed=params.seed,
        weights={name: model.path for name, model in task.catalog.preprocessors.items()},
    )


def _enlarge(
    image: Image, scale: float, upscaler: str, catalog: Catalog, tools: Tools, ahead: int = 0
) -> PlanPart[Image]:
    if upscaler in FILTERS:
        return (yield from run(Resizing(image, scale, upscaler), ahead))
    loaded = yield from load(upscaler_request(_find(catalog.upscalers, upscaler), tools.device, tools.packages))
    work = yield from on_host(lambda: Upscaling(image, scale, loaded))
    return (yield from run(work, ahead))


def _find(models: AuxiliaryModels, name: str) -> AuxiliaryModel:
    """The auxiliary model that ``name`` means; it was in the catalog when the job was accepted."""
    found = models.resolve(name)
    if found is None:
        raise ModelUnavailable(f"{name!r} is no longer in the catalog")
    return found

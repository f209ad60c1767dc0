"""From configs to requests for the job service, and from parameters to Prodia's field names."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from models.catalog.catalog import Catalog
from models.catalog.faces import SWAP_REFUSAL
from models.catalog.families import DRAWN_KINDS, SDXL_REFINER
from models.catalog.samplers import find_sampler
from models.errors import ProblemCode
from models.jobs.params import (
    FACE_RESTORE,
    UPSCALE,
    Control,
    DrawRequest,
    FaceRestoreRequest,
    JobRequest,
    LoraUse,
    Mask,
    Refiner,
    UpscaleRequest,
)
from models.jobs.payload import build
from models.jobs.seeds import client_seed
from service.api.errors import invalid_field
from service.api.job_bodies import BodyOf
from service.api.prodia_v2.form_images import FormImages, assign
from service.api.prodia_v2.job_types import JobType, choose_model, choose_upscaler, first_of, missing_family
from service.api.prodia_v2.schemas import DrawConfig, FaceRestoreConfig, MaskConfig, UpscaleConfig

_GUIDANCE = ("guidance_scale", "cfg_scale", "guidance")
_WIRE_NAMES: Mapping[str, str] = {"num_inference_steps": "steps", "kind": "type"}
_CONFIGS: Mapping[str, type[DrawConfig | UpscaleConfig | FaceRestoreConfig]] = {
    **dict.fromkeys(DRAWN_KINDS, DrawConfig), UPSCALE: UpscaleConfig, FACE_RESTORE: FaceRestoreConfig,
}  # fmt: skip


def wire_name(field: str) -> str:
    """Prodia's name for the parameter ``field``."""
    return _WIRE_NAMES.get(field, field)


def config_class(job_type: JobType) -> type[DrawConfig | UpscaleConfig | FaceRestoreConfig]:
    """The class of the type's config; raises :class:`InvalidTicket` if jobs of that type are never processed."""
    if job_type.kind not in _CONFIGS:
        raise invalid_field("type", SWAP_REFUSAL, ProblemCode.UNAVAILABLE)
    return _CONFIGS[job_type.kind]


def to_request(job_type: JobType, config: Mapping[str, Any], catalog: Catalog, images: FormImages) -> JobRequest:
    """The request for a job of that type.

    Raises:
        InvalidTicket: ``config`` does not fit the type, or an image cannot be used.
    """
    match config_class(job_type).read(config):
        case DrawConfig() as draw:
            return _draw_request(draw, job_type, catalog, images)
        case UpscaleConfig() as upscale:
            return _upscale_request(upscale, job_type, catalog, images)
        case restore:
            return FaceRestoreRequest(image=_only_image(restore, job_type, images))


def _draw_request(config: DrawConfig, job_type: JobType, catalog: Catalog, images: FormImages) -> DrawRequest:
    controls = tuple(_control(body, index, images) for index, body in enumerate(config.controls or ()))
    mask = MaskConfig(image=config.mask) if isinstance(config.mask, str) else config.mask
    named = {"image": config.image, "mask": None if mask is None else mask.image}
    sources = assign(job_type.roles, named, config.images or (), images)
    name = choose_model(job_type, config.model, catalog)
    model = catalog.resolve(name)
    return DrawRequest(
        kind=job_type.kind,
        prompt=config.prompt,
        negative_prompt=config.negative_prompt,
        model=name,
        sampler=config.sampler and (find_sampler(config.sampler) or config.sampler),
        num_inference_steps=config.steps,
        guidance_scale=_guidance_scale(config),
        seed=client_seed(config.seed),
        width=config.width if model is None else model.rounded_side(config.width),
        height=config.height if model is None else model.rounded_side(config.height),
        aspect_ratio=config.aspect_ratio,
        style_preset=config.style_preset,
        clip_skip=config.clip_skip,
        loras=tuple(_lora(lora) for lora in config.loras or ()),
        image=sources.get("image"),
        strength=config.strength,
        resize_mode=config.resize_mode,
        mask=_mask(mask, sources.get("mask")),
        controls=controls,
        second_pass=None if config.second_pass is None else config.second_pass.to_value(),
        refiner=_refiner(config, catalog),
        reuse_interval=config.reuse_interval,
        priority=config.priority,
    )


def _guidance_scale(config: DrawConfig) -> float | None:
    given = {name: value for name in _GUIDANCE if (value := getattr(config, name)) is not None}
    if len(set(given.values())) > 1:
        message = "are names of the same parameter, and have different values"
        raise invalid_field(" and ".join(given), message, ProblemCode.CONFLICT)
    return next(iter(given.values()), None)


def _refiner(config: DrawConfig, catalog: Catalog) -> Refiner | None:
    if not isinstance(config.refiner, bool):
        return None if config.refiner is None else config.refiner.to_value()
    if not config.refiner:
        return None
    found = first_of(SDXL_REFINER, catalog)
    if found is None:
        raise invalid_field("refiner", missing_family(SDXL_REFINER), ProblemCode.UNAVAILABLE)
    return Refiner(model=found.name)


def _control(body: BodyOf[Control], index: int, images: FormImages) -> Control:
    control = body.to_value()
    if control.image is None:
        return control
    return replace(control, image=images.by_name(f"controls[{index}].image", control.image))


def _mask(config: MaskConfig | None, source: str | None) -> Mask | None:
    if source is None:
        return None
    given = {} if config is None else config.model_dump(exclude_none=True)
    return build(Mask, given | {"image": source})


def _lora(lora: str | BodyOf[LoraUse]) -> LoraUse:
    """The LoRA of a body, or of a text ``name``, ``name@weight`` or ``name:weight``."""
    if not isinstance(lora, str):
        return lora.to_value()
    for separator in "@:":
        name, found, text = lora.rpartition(separator)
        weight = _weight(text) if found and name else None
        if weight is not None:
            return LoraUse(name=name, weight=weight)
    return LoraUse(name=lora)


def _weight(text: str) -> float | None:
    try:
        weight = float(text)
    except ValueError:
        return None
    return weight if math.isfinite(weight) else None


def _upscale_request(config: UpscaleConfig, job_type: JobType, catalog: Catalog, images: FormImages) -> UpscaleRequest:
    source = _only_image(config, job_type, images)
    if config.scale is not None and config.upscale not in (None, config.scale):
        message = "differs from upscale, and both are names of the same parameter"
        raise invalid_field("scale", message, ProblemCode.CONFLICT)
    return UpscaleRequest(
        image=source,
        scale=config.upscale if config.scale is None else config.scale,
        upscaler=config.upscaler or choose_upscaler(job_type, catalog),
    )


def _only_image(config: UpscaleConfig | FaceRestoreConfig, job_type: JobType, images: FormImages) -> str:
    sources = assign(job_type.roles, {"image": config.image}, config.images or (), images)
    if "image" not in sources:
        raise invalid_field("input", f"{job_type.name} needs an image", ProblemCode.REQUIRED)
    return sources["image"]

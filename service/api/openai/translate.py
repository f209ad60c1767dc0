"""From OpenAI's bodies to requests for the job service, and from parameters to OpenAI's field names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

from models.catalog.catalog import Catalog, ModelSpec
from models.catalog.families import IMG2IMG, INPAINT
from models.catalog.names import unknown_name
from models.catalog.samplers import find_sampler
from models.jobs.params import DrawRequest, LoraUse, Mask
from models.jobs.seeds import client_seed
from service.api.job_bodies import BodyOf
from service.api.openai.errors import MODEL_NOT_FOUND, OpenAiError
from service.api.openai.form_images import FormImages
from service.api.openai.names import without_provider
from service.api.openai.schemas import EditForm, GenerateBody, ImageFields, VariationForm
from service.api.openai.sizes import Size, fitted, read_size, rounded

STEPS_OF: Mapping[str | None, float] = {
    "low": 0.5, "high": 2, "hd": 2, "xhigh": 3, "max": 4,
}  # fmt: skip
"""The factor of the model's default number of steps, by quality; 1 for other qualities."""
STYLES = {"vivid": "cinematic", "natural": "photographic"}
FIDELITIES = {"high": 0.5, "low": 0.75}
VARIATION_STRENGTH = 0.5
VARIATION_PROMPT = "an image"
_VARIATION_GUIDANCE = 1.0

_OPENAI_MODEL = re.compile(r"dall-?e(-[23])?|gpt-image-[\w.-]+|chatgpt-image-latest", re.IGNORECASE)
_DEFAULT_NAMES = ("", "default", "auto")

_Number = TypeVar("_Number", int, float)


def find_model(name: str | None, catalog: Catalog) -> ModelSpec:
    """The model of that name or alias; for a name of OpenAI's models, the model that stands for unknown names.

    A prefix such as ``openai/``, with which proxies name the provider, is left out; no name is the default model.

    Raises:
        OpenAiError: there is no such model (404).
    """
    found = catalog.resolve(name)
    plain = without_provider(name or "")
    if found is None:
        found = catalog.resolve(None if plain.lower() in _DEFAULT_NAMES else plain)
    if found is None and _OPENAI_MODEL.fullmatch(plain):
        found = catalog.resolve_any(plain)
    if found is None:
        message = unknown_name("model", str(name), catalog).message
        raise OpenAiError(f"model: {message}", param="model", code=MODEL_NOT_FOUND, status=404)
    return found


def generation(body: GenerateBody, catalog: Catalog) -> DrawRequest:
    """A request for txt2img; raises :class:`OpenAiError` for contradicting fields."""
    spec = find_model(body.model, catalog)
    if body.style is not None and body.style_preset is not None:
        raise OpenAiError("style: must not be sent together with style_preset", param="style")
    style_preset = body.style_preset if body.style is None else STYLES[body.style]
    width, height = _size(body, spec) or (None, None)
    return DrawRequest(**_common(body, spec) | {
        "prompt": body.prompt, "style_preset": style_preset, "width": width, "height": height,
        "loras": _loras(body.loras),
    })  # fmt: skip


def canvas_size(form: EditForm, catalog: Catalog, first: Size) -> Size:
    """The size of a canvas for several images, the first of which has the size ``first``: that of the job.

    Raises:
        OpenAiError: the model or the size is unknown, or there is a mask, which several images cannot have.
    """
    if form.mask is not None:
        raise OpenAiError("mask: must be left out with several images, which are put on one canvas", param="mask")
    spec = find_model(form.model, catalog)
    return _size(form, spec) or fitted(first, spec)


def edit(form: EditForm, images: FormImages, catalog: Catalog) -> DrawRequest:
    """A request for inpainting, or for img2img without a mask; raises :class:`OpenAiError` for contradicting fields."""
    spec = find_model(form.model, catalog)
    if form.strength is not None and form.input_fidelity is not None:
        raise OpenAiError("input_fidelity: must not be sent together with strength", param="input_fidelity")
    strength = form.strength
    if form.input_fidelity is not None and images.mask is None:
        strength = FIDELITIES[form.input_fidelity]
    mask = None if images.mask is None else Mask(image=images.mask)
    return DrawRequest(**_common(form, spec) | _source_image(form, images, spec) | {
        "kind": IMG2IMG if mask is None else INPAINT, "prompt": form.prompt, "mask": mask, "strength": strength,
    })  # fmt: skip


def variation(form: VariationForm, images: FormImages, catalog: Catalog) -> DrawRequest:
    """A request for img2img; raises :class:`OpenAiError` for contradicting fields.

    Without a prompt, guidance is off by default, because it has nothing to guide towards.
    """
    spec = find_model(form.model, catalog)
    prompt = form.prompt or images.prompt
    has_scale = form.guidance_scale is not None or form.cfg_scale is not None
    guidance = {} if prompt or has_scale else {"guidance_scale": _VARIATION_GUIDANCE}
    return DrawRequest(**_common(form, spec) | _source_image(form, images, spec) | guidance | {
        "kind": IMG2IMG, "prompt": prompt or VARIATION_PROMPT,
        "strength": VARIATION_STRENGTH if form.strength is None else form.strength,
    })  # fmt: skip


def _common(fields: ImageFields, spec: ModelSpec) -> dict[str, Any]:
    return {
        "model": spec.name,
        "negative_prompt": fields.negative_prompt,
        "num_inference_steps": _steps(fields, spec),
        "guidance_scale": _only("guidance_scale", fields.guidance_scale, fields.cfg_scale),
        "seed": client_seed(fields.seed),
        "sampler": None if fields.sampler is None else find_sampler(fields.sampler) or fields.sampler,
        "style_preset": fields.style_preset,
        "clip_skip": fields.clip_skip,
        "priority": fields.priority,
    }


def _source_image(form: EditForm | VariationForm, images: FormImages, spec: ModelSpec) -> dict[str, Any]:
    width, height = _size(form, spec) or fitted(images.size, spec)
    return {"image": images.image, "width": width, "height": height, "loras": _loras(form.loras)}


def _loras(loras: list[BodyOf[LoraUse]] | None) -> tuple[LoraUse, ...]:
    return tuple(LoraUse(**lora.model_dump(exclude_none=True)) for lora in loras or ())


def _steps(fields: ImageFields, spec: ModelSpec) -> int | None:
    steps = _only("steps", fields.steps, fields.step, fields.num_inference_steps)
    if fields.quality not in STEPS_OF:
        return steps
    if steps is not None:
        raise OpenAiError(
            f"quality: {fields.quality} sets the number of steps; send quality or steps, not both", param="quality"
        )
    return max(1, min(spec.limits.max_steps, round(spec.defaults.num_inference_steps * STEPS_OF[fields.quality])))


def _size(fields: ImageFields, spec: ModelSpec) -> Size | None:
    """The size of ``size``, or of ``width`` and ``height``; a side that is left out is the model's usual one."""
    size = read_size(fields.size, spec)
    if fields.width is None and fields.height is None:
        return size
    if size is not None:
        raise OpenAiError("size: must not be sent together with width or height", param="size")
    width, height = fields.width or spec.defaults.width, fields.height or spec.defaults.height
    return rounded(width, spec, "width"), rounded(height, spec, "height")


def _only(name: str, *values: _Number | None) -> _Number | None:
    """The value among several names of one parameter; raises :class:`OpenAiError` if they differ."""
    given = {value for value in values if value is not None}
    if len(given) > 1:
        raise OpenAiError(f"{name}: its other names have other values; send only one of them", param=name)
    return next(iter(given), None)


_WIRE_NAMES: Mapping[str, tuple[str, ...]] = {
    "mask.image": ("mask",),
    "width": ("size", "width"),
    "height": ("size", "height"),
    "num_inference_steps": ("steps", "step", "num_inference_steps", "quality"),
    "guidance_scale": ("guidance_scale", "cfg_scale"),
}


def wire_name(field: str, fields: ImageFields | None = None) -> str:
    """OpenAI's name for the parameter ``field``: of several, the one that ``fields`` has a value for."""
    names = _WIRE_NAMES.get(field, (field,))
    return next((name for name in names if getattr(fields, name, None) is not None), names[0])

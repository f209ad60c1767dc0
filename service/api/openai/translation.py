"""From OpenAI's terms to ours: models, sizes, qualities and styles, and our names back into theirs for errors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from models.catalog.bounds import SIZE_MULTIPLE_PX
from models.catalog.catalog import Catalog, ModelSpec
from models.catalog.families import FAMILIES, IMG2IMG, INPAINT
from models.catalog.samplers import find_sampler
from models.jobs.checks import unknown_name
from models.jobs.params import DrawRequest, LoraUse, Mask
from service.api.native.schemas import BodyOf
from service.api.openai.errors import MODEL_NOT_FOUND, OpenAiError
from service.api.openai.fields import EditForm, Fields, GenerateBody, VariationForm
from service.api.openai.images import Images

STEPS_OF: Mapping[str | None, float] = {
    "low": 0.5, "high": 2, "hd": 2, "xhigh": 3, "max": 4,
}  # fmt: skip
"""The share of the model's usual steps, by quality; 1 for all others."""
STYLES = {"vivid": "cinematic", "natural": "photographic"}
FIDELITIES = {"high": 0.5, "low": 0.75}
VARIATION_STRENGTH = 0.5
VARIATION_PROMPT = "an image"
_VARIATION_GUIDANCE = 1.0

_OPENAI_MODEL = re.compile(r"dall-e-[23]|gpt-image-[\w.-]+|chatgpt-image-latest")
_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")
_AUTO = "auto"


def find_model(name: str | None, catalog: Catalog) -> ModelSpec:
    """The model of that name; OpenAI's own names, unless the catalog has them, mean what unknown names mean there.

    Raises:
        OpenAiError: with 404, nobody knows it.
    """
    found = catalog.resolve(name)
    if found is None and name is not None and _OPENAI_MODEL.fullmatch(name):
        found = catalog.resolve_any(name)
    if found is None:
        message = unknown_name("model", str(name), catalog).message
        raise OpenAiError(f"model: {message}", param="model", code=MODEL_NOT_FOUND, status=404)
    return found


def generation(body: GenerateBody, catalog: Catalog) -> DrawRequest:
    """What ``body`` asks for; raises :class:`OpenAiError`."""
    spec = find_model(body.model, catalog)
    if body.style is not None and body.style_preset is not None:
        raise OpenAiError("style: excludes style_preset", param="style")
    style_preset = body.style_preset if body.style is None else STYLES[body.style]
    width, height = _size(body.size) or (None, None)
    return DrawRequest(**_common(body, spec) | {
        "prompt": body.prompt, "style_preset": style_preset, "width": width, "height": height,
        "loras": _loras(body.loras),
    })  # fmt: skip


def edit(form: EditForm, images: Images, catalog: Catalog) -> DrawRequest:
    """What ``form`` asks for, its images taken in; raises :class:`OpenAiError`."""
    spec = find_model(form.model, catalog)
    if form.strength is not None and form.input_fidelity is not None:
        raise OpenAiError("input_fidelity: excludes strength", param="input_fidelity")
    strength = form.strength
    if form.input_fidelity is not None and images.mask is None:
        strength = FIDELITIES[form.input_fidelity]
    mask = None if images.mask is None else Mask(image=images.mask)
    return DrawRequest(**_common(form, spec) | _drawn_over(form, images, spec) | {
        "kind": IMG2IMG if mask is None else INPAINT, "prompt": form.prompt, "mask": mask, "strength": strength,
    })  # fmt: skip


def variation(form: VariationForm, images: Images, catalog: Catalog) -> DrawRequest:
    """What ``form`` asks for, its image taken in; raises :class:`OpenAiError`.

    Without any words there is nothing to guide towards, so that guidance is off unless it is asked for.
    """
    spec = find_model(form.model, catalog)
    prompt = form.prompt or images.prompt
    usual = {} if prompt or form.guidance_scale is not None else {"guidance_scale": _VARIATION_GUIDANCE}
    return DrawRequest(**_common(form, spec) | _drawn_over(form, images, spec) | usual | {
        "kind": IMG2IMG, "prompt": prompt or VARIATION_PROMPT,
        "strength": VARIATION_STRENGTH if form.strength is None else form.strength,
    })  # fmt: skip


def _common(fields: Fields, spec: ModelSpec) -> dict[str, Any]:
    return {
        "model": spec.name,
        "negative_prompt": fields.negative_prompt,
        "num_inference_steps": _steps(fields, spec),
        "guidance_scale": fields.guidance_scale,
        "seed": fields.seed,
        "sampler": None if fields.sampler is None else find_sampler(fields.sampler) or fields.sampler,
        "style_preset": fields.style_preset,
        "clip_skip": fields.clip_skip,
        "priority": fields.priority,
    }


def _drawn_over(form: EditForm | VariationForm, images: Images, spec: ModelSpec) -> dict[str, Any]:
    width, height = _size(form.size) or fitted(images.size, spec)
    return {"image": images.image, "width": width, "height": height, "loras": _loras(form.loras)}


def _loras(loras: list[BodyOf[LoraUse]] | None) -> tuple[LoraUse, ...]:
    return tuple(LoraUse(**lora.model_dump(exclude_none=True)) for lora in loras or ())


def _steps(fields: Fields, spec: ModelSpec) -> int | None:
    if fields.steps is not None and fields.num_inference_steps is not None:
        raise OpenAiError("steps: is the same as num_inference_steps; send one of the two", param="steps")
    steps = fields.num_inference_steps if fields.steps is None else fields.steps
    if fields.quality not in STEPS_OF:
        return steps
    if steps is not None:
        raise OpenAiError(f"quality: {fields.quality} sets the number of steps; send one of the two", param="quality")
    return max(1, min(spec.limits.max_steps, round(spec.defaults.num_inference_steps * STEPS_OF[fields.quality])))


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None or text == _AUTO:
        return None
    found = _SIZE.fullmatch(text)
    if found is None:
        raise OpenAiError("size: must be auto, or as in 512x768", param="size")
    return int(found[1]), int(found[2])


def fitted(size: tuple[int, int], spec: ModelSpec) -> tuple[int, int]:
    """``size`` in pixels, brought within the limits of ``spec`` and onto its grid; its shape is kept if it can be."""
    limits, facts = spec.limits, FAMILIES.get(spec.family)
    grid_px = SIZE_MULTIPLE_PX if facts is None else facts.size_multiple_px
    low, high = -(-limits.min_px // grid_px), limits.max_px // grid_px
    scale = min(limits.max_px / max(size), 1) * max(limits.min_px / min(size), 1) / grid_px
    width, height = (min(max(round(side * scale), low), high) * grid_px for side in size)
    return width, height


def openai_name(field: str) -> str:
    """What OpenAI's clients call our parameter ``field``."""
    return {"width": "size", "height": "size", "mask.image": "mask", "mask": "mask"}.get(field, field)

"""What can be drawn: every rule about a picture's parameters, and whom each one blames."""

from __future__ import annotations

import math
from collections.abc import Mapping

from models.catalog import Catalog, ModelSpec
from models.checks import Problems, choice_problem, extra_problem, range_problem, text_problem, unknown
from models.families import SDXL
from models.params import (
    ASPECT_RATIOS,
    CLIP_SKIP_MAX,
    CONTROL_MODES,
    FILLS,
    GUIDANCE_MAX,
    IMG2IMG,
    INPAINT,
    LORA_WEIGHT_MAX,
    MASK_MAX_PX,
    PRIORITY_MAX,
    RESIZE_MODES,
    SEED_MAX,
    SIZE_MULTIPLE_PX,
    TXT2IMG,
    Control,
    DrawParams,
    DrawRequest,
    Mask,
    Refiner,
    SecondPass,
)
from models.preprocessors import PREPROCESSORS, Preprocessor, find_preprocessor
from models.prompts import PromptError, parse
from models.samplers import REFUSED, SAMPLERS, sampler_problem
from models.upscalers import upscaler_problem

LORAS_MAX = 8
CONTROLS_MAX = 4
CONTROL_WEIGHT_MAX = 2.0
REUSE_INTERVAL_MAX = 10
SECOND_PASS_SCALE_MAX = 4.0
SECOND_PASS_SIZE = 2
"""A second pass may make a picture so many times as wide and high as the model's ``max_px``."""

_NEEDED: Mapping[str, tuple[str, ...]] = {TXT2IMG: (), IMG2IMG: ("image",), INPAINT: ("image", "mask")}
_FOREIGN: Mapping[str, Mapping[str, str]] = {
    TXT2IMG: {"image": IMG2IMG, "strength": IMG2IMG, "resize_mode": IMG2IMG, "mask": INPAINT},
    IMG2IMG: {"mask": INPAINT},
    INPAINT: {},
}
"""Fields that mean nothing to a kind, and the kind to use instead."""


def check_kind(request: DrawRequest, problems: Problems) -> None:
    """Note what the request's kind lacks, and what does not belong to it; a field's neutral value always does."""
    for field in _NEEDED[request.kind]:
        if getattr(request, field) is None:
            problems.note(field, f"is required for kind {request.kind}")
    for field, kind in _FOREIGN[request.kind].items():
        if getattr(request, field) not in (None, getattr(DrawParams, field)):
            problems.note(field, f"means nothing to kind {request.kind}; use kind {kind}")


def check(kind: str, params: DrawParams, model: ModelSpec, catalog: Catalog, problems: Problems) -> None:
    """Note everything about ``params`` that ``model``, with the helpers in ``catalog``, cannot draw."""
    _check_texts(params, problems)
    _check_numbers(params, model, problems)
    _check_sampling(kind, params, problems)
    if params.mask is not None:
        _check_mask(params.mask, problems)
    _check_loras(params, problems)
    if len(params.controls) > CONTROLS_MAX:
        problems.note("controls", f"there may be at most {CONTROLS_MAX}, and there are {len(params.controls)}")
    for index, control in enumerate(params.controls[:CONTROLS_MAX]):
        _check_control(f"controls[{index}]", control, params, model, catalog, problems)
    if params.second_pass is not None:
        _check_second_pass(params.second_pass, params, model, catalog, problems)
    if params.refiner is not None:
        _check_refiner(params.refiner, model, catalog, problems)


def aspect_size(name: str, model: ModelSpec, problems: Problems) -> tuple[int, int]:
    """Width and height of that aspect ratio: the area of the model's default size, but never beyond its limits.

    The sides are rounded to multiples of 8. Where the longer one would exceed ``max_px``, both shrink.
    """
    defaults, limits = model.defaults, model.limits
    if name not in ASPECT_RATIOS:
        problems.note("aspect_ratio", choice_problem(name, ASPECT_RATIOS))
        return defaults.width, defaults.height
    across, down = ASPECT_RATIOS[name]
    unit_px = math.sqrt(defaults.width * defaults.height / (across * down))
    unit_px = min(unit_px, limits.max_px // SIZE_MULTIPLE_PX * SIZE_MULTIPLE_PX / max(across, down))
    width, height = (round(side * unit_px / SIZE_MULTIPLE_PX) * SIZE_MULTIPLE_PX for side in (across, down))
    if min(width, height) < limits.min_px:
        problems.note("aspect_ratio", f"{width} x {height} px would be below the {limits.min_px} px of {model.name}")
        return defaults.width, defaults.height
    return width, height


def _check_texts(params: DrawParams, problems: Problems) -> None:
    for field, text in (("prompt", params.prompt), ("negative_prompt", params.negative_prompt)):
        problem = text_problem(text) or _syntax_problem(text)
        problems.note(field, problem)
    if not params.prompt.strip():
        problems.note("prompt", "must not be empty")


def _syntax_problem(text: str) -> str | None:
    """Unless ``text``, out of which the tags of LoRAs were taken if it is the prompt, can be read."""
    try:
        parsed = parse(text)
    except PromptError as error:
        return str(error)
    return "names a LoRA; LoRAs work on the whole picture: name them in the prompt" if parsed.loras else None


def _check_numbers(params: DrawParams, model: ModelSpec, problems: Problems) -> None:
    problems.note("num_inference_steps", range_problem(params.num_inference_steps, 1, model.limits.max_steps))
    problems.note("guidance_scale", range_problem(params.guidance_scale, 0, GUIDANCE_MAX))
    problems.note("seed", range_problem(params.seed, 0, SEED_MAX))
    problems.note("width", _size_problem(params.width, model))
    problems.note("height", _size_problem(params.height, model))
    problems.note("clip_skip", range_problem(params.clip_skip, 1, CLIP_SKIP_MAX))
    problems.note("resize_mode", choice_problem(params.resize_mode, RESIZE_MODES))
    problems.note("reuse_interval", range_problem(params.reuse_interval, 1, REUSE_INTERVAL_MAX))
    problems.note("priority", range_problem(params.priority, -PRIORITY_MAX, PRIORITY_MAX))


def _size_problem(size_px: int, model: ModelSpec) -> str | None:
    limits = model.limits
    if limits.min_px <= size_px <= limits.max_px and size_px % SIZE_MULTIPLE_PX == 0:
        return None
    return f"must be a multiple of {SIZE_MULTIPLE_PX} from {limits.min_px} to {limits.max_px} for {model.name}"


def _check_sampling(kind: str, params: DrawParams, problems: Problems) -> None:
    steps, is_from_picture = params.num_inference_steps, kind != TXT2IMG
    if params.sampler not in SAMPLERS and params.sampler not in REFUSED:
        problems.note("sampler", unknown("sampler", params.sampler, SAMPLERS))
    else:
        problem = sampler_problem(params.sampler, num_inference_steps=max(steps, 1), img2img=is_from_picture)
        problems.note("sampler", problem)
    problems.note("strength", _strength_problem(params.strength, steps))


def _strength_problem(strength: float, steps: int) -> str | None:
    """Unless some of the steps are run; pipelines run ``int(steps * strength)`` of them."""
    if not 0 < strength <= 1:
        return "must be above 0 and at most 1"
    if steps >= 1 and int(min(steps, SEED_MAX) * strength) < 1:
        return f"leaves none of {steps} steps to be run; it must be at least {1 / steps:.3g}"
    return None


def _check_mask(mask: Mask, problems: Problems) -> None:
    problems.note("mask.blur_px", range_problem(mask.blur_px, 0, MASK_MAX_PX))
    problems.note("mask.padding_px", range_problem(mask.padding_px, 0, MASK_MAX_PX))
    problems.note("mask.fill", choice_problem(mask.fill, FILLS))


def _check_loras(params: DrawParams, problems: Problems) -> None:
    for lora in params.loras:
        problem = range_problem(lora.weight, -LORA_WEIGHT_MAX, LORA_WEIGHT_MAX)
        problems.note("loras", problem and f"the weight of {lora.name!r} {problem}, and is {lora.weight:g}")


def _check_control(
    place: str, control: Control, params: DrawParams, model: ModelSpec, catalog: Catalog, problems: Problems
) -> None:
    found = catalog.controlnets.resolve(control.model)
    problems.note(
        f"{place}.model", extra_problem("ControlNet", control.model, found, catalog.controlnets, model.family)
    )
    if control.image is None and params.image is None:
        problems.note(f"{place}.image", "is required where the job starts from no picture")
    problems.note(f"{place}.weight", range_problem(control.weight, 0, CONTROL_WEIGHT_MAX))
    if not 0 <= control.start < control.end <= 1:
        problems.note(f"{place}.start", "must be at least 0 and below end, which must be at most 1")
    problems.note(f"{place}.mode", choice_problem(control.mode, CONTROL_MODES))
    problems.note(f"{place}.resize_mode", choice_problem(control.resize_mode, RESIZE_MODES))
    _check_preprocessor(place, control, catalog, problems)


def _check_preprocessor(place: str, control: Control, catalog: Catalog, problems: Problems) -> None:
    found = find_preprocessor(control.preprocessor)
    if found is None:
        problems.note(f"{place}.preprocessor", unknown("preprocessor", control.preprocessor, PREPROCESSORS))
        return
    problems.note(f"{place}.preprocessor", preprocessor_problem(found, catalog))
    for field in ("threshold_a", "threshold_b"):
        value, threshold = getattr(control, field), getattr(found, field)
        if value is None:
            continue
        if threshold is None:
            problems.note(f"{place}.{field}", f"means nothing to the preprocessor {found.name!r}")
        else:
            problems.note(f"{place}.{field}", range_problem(value, threshold.low, threshold.high))


def preprocessor_problem(preprocessor: Preprocessor, catalog: Catalog) -> str | None:
    """Why ``preprocessor`` cannot be used with the weights that the catalog has; ``None`` if it can."""
    name, weights = preprocessor.name, preprocessor.weights
    if preprocessor.refusal is not None:
        return f"{name} is not available: {preprocessor.refusal}"
    if weights is None or catalog.preprocessors.resolve(weights) is not None:
        return None
    return f"{name} is not available: it needs weights; set file or folder in [preprocessors.{weights}]"


def _check_second_pass(
    second: SecondPass, params: DrawParams, model: ModelSpec, catalog: Catalog, problems: Problems
) -> None:
    steps, max_px = second.num_inference_steps or 0, model.limits.max_px * SECOND_PASS_SIZE
    if not 1 < second.scale <= SECOND_PASS_SCALE_MAX:
        problems.note("second_pass.scale", f"must be above 1 and at most {SECOND_PASS_SCALE_MAX:g}")
    elif max(params.width, params.height) > max_px / second.scale:
        problems.note("second_pass.scale", f"makes the picture larger than {max_px} x {max_px} px")
    problems.note("second_pass.upscaler", upscaler_problem(second.upscaler, catalog.upscalers))
    problems.note("second_pass.num_inference_steps", range_problem(steps, 1, model.limits.max_steps))
    problems.note("second_pass.strength", _strength_problem(second.strength, steps))
    if params.sampler in SAMPLERS:
        problem = sampler_problem(params.sampler, num_inference_steps=max(steps, 1), img2img=True)
        problems.note("second_pass", problem)


def _check_refiner(refiner: Refiner, model: ModelSpec, catalog: Catalog, problems: Problems) -> None:
    found = catalog.resolve(refiner.model)
    if found is None:
        problems.note("refiner.model", unknown("model", refiner.model, catalog))
    elif found.family != SDXL or model.family != SDXL:
        problems.note("refiner.model", "refiner and model must both be of the family sdxl")
    if not 0 < refiner.start < 1:
        problems.note("refiner.start", "must be above 0 and below 1")

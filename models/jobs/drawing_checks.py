"""What can be drawn: every rule about an image's parameters, and whom each one blames."""

from __future__ import annotations

import math
from collections.abc import Mapping

from models.catalog.bounds import GUIDANCE_MAX
from models.catalog.catalog import Catalog, ModelSpec
from models.catalog.families import FAMILIES, IMG2IMG, INPAINT, TXT2IMG, FamilyFacts
from models.jobs.auxiliary_checks import check_helpers
from models.jobs.checks import Problems, choice_problem, range_problem, sampling_problem, strength_problem, text_problem
from models.jobs.params import (
    ASPECT_RATIOS,
    FILLS,
    MASK_MAX_PX,
    PRIORITY_MAX,
    RESIZE_MODES,
    SEED_MAX,
    DrawParams,
    DrawRequest,
    Mask,
)
from models.jobs.prompts import PromptError, parse

REUSE_INTERVAL_MAX = 10

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
    facts = FAMILIES.get(model.family)
    if facts is None:
        problems.note(
            "model", f"{model.name} is of the family {model.family!r}; only {', '.join(FAMILIES)} can be drawn"
        )
        return
    _check_family(kind, params, model, facts, problems)
    _check_texts(params, problems)
    _check_numbers(params, model, facts, problems)
    _check_sampling(kind, params, facts, problems)
    if params.mask is not None:
        _check_mask(params.mask, problems)
    check_helpers(kind, params, model, facts, catalog, problems)


def _check_family(kind: str, params: DrawParams, model: ModelSpec, facts: FamilyFacts, problems: Problems) -> None:
    if kind not in facts.kinds:
        problems.note("model", f"{model.name} cannot draw kind {kind}, but {' and '.join(facts.kinds)}")
    unable = f"means nothing to models of {model.family}"
    if params.negative_prompt and not facts.takes_negative_prompt:
        problems.note("negative_prompt", unable)
    if params.clip_skip > 1 and not facts.takes_clip_skip:
        problems.note("clip_skip", unable)
    if params.reuse_interval > 1 and (params.controls or facts.denoiser != FamilyFacts.denoiser):
        problems.note("reuse_interval", "only UNets reuse features, and not beside ControlNets; leave it at 1")
    if params.controls and not facts.takes_controlnets:
        problems.note("controls", f"not available: ControlNets for models of {model.family}")


def aspect_size(name: str, model: ModelSpec, problems: Problems) -> tuple[int, int]:
    """Width and height of that aspect ratio: the area of the model's default size, but never beyond its limits.

    The sides are rounded to multiples of 8, or of what the family needs. Where the longer one would exceed ``max_px``,
    both shrink.
    """
    defaults, limits = model.defaults, model.limits
    if name not in ASPECT_RATIOS:
        problems.note("aspect_ratio", choice_problem(name, ASPECT_RATIOS))
        return defaults.width, defaults.height
    across, down = ASPECT_RATIOS[name]
    grid_px = model.grid_px
    unit_px = math.sqrt(defaults.width * defaults.height / (across * down))
    unit_px = min(unit_px, limits.max_px // grid_px * grid_px / max(across, down))
    width, height = (round(side * unit_px / grid_px) * grid_px for side in (across, down))
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
    return "names a LoRA; LoRAs work on the whole image: name them in the prompt" if parsed.loras else None


def _check_numbers(params: DrawParams, model: ModelSpec, facts: FamilyFacts, problems: Problems) -> None:
    problems.note("num_inference_steps", range_problem(params.num_inference_steps, 1, model.limits.max_steps))
    problems.note("guidance_scale", range_problem(params.guidance_scale, 0, GUIDANCE_MAX))
    problems.note("seed", range_problem(params.seed, 0, SEED_MAX))
    problems.note("width", _size_problem(params.width, model, facts.size_multiple_px))
    problems.note("height", _size_problem(params.height, model, facts.size_multiple_px))
    problems.note("clip_skip", range_problem(params.clip_skip, 1, model.limits.max_clip_skip))
    problems.note("resize_mode", choice_problem(params.resize_mode, RESIZE_MODES))
    problems.note("reuse_interval", range_problem(params.reuse_interval, 1, REUSE_INTERVAL_MAX))
    problems.note("priority", range_problem(params.priority, -PRIORITY_MAX, PRIORITY_MAX))


def _size_problem(size_px: int, model: ModelSpec, grid_px: int) -> str | None:
    limits = model.limits
    if limits.min_px <= size_px <= limits.max_px and size_px % grid_px == 0:
        return None
    return f"must be a multiple of {grid_px} from {limits.min_px} to {limits.max_px} for {model.name}"


def _check_sampling(kind: str, params: DrawParams, facts: FamilyFacts, problems: Problems) -> None:
    steps = params.num_inference_steps
    problems.note("sampler", sampling_problem(params.sampler, steps, facts, img2img=kind != TXT2IMG))
    problems.note("strength", strength_problem(params.strength, steps))


def _check_mask(mask: Mask, problems: Problems) -> None:
    problems.note("mask.blur_px", range_problem(mask.blur_px, 0, MASK_MAX_PX))
    problems.note("mask.padding_px", range_problem(mask.padding_px, 0, MASK_MAX_PX))
    problems.note("mask.fill", choice_problem(mask.fill, FILLS))

"""Completing a request for an image: the model's defaults are filled in, names are resolved, the seed is drawn."""

from __future__ import annotations

import secrets
from dataclasses import replace

from models.catalog.catalog import Catalog, ModelSpec
from models.catalog.families import INPAINT, TXT2IMG
from models.catalog.names import did_you_mean, unknown_name
from models.catalog.samplers import find_sampler
from models.catalog.styles import STYLES, find_style
from models.errors import InvalidTicket, Problem, ProblemCode, quoted
from models.jobs.checks import Problems, upscaler_name, value_or
from models.jobs.drawing_checks import aspect_size, check
from models.jobs.loras import summed_loras
from models.jobs.params import (
    DRAWN_SEED_MAX,
    LORAS_MAX,
    Control,
    DrawParams,
    DrawRequest,
    LoraUse,
    Refiner,
    SecondPass,
    Variation,
)
from models.jobs.prompts import LoraTag, PromptError, extract_loras

IMG2IMG_STRENGTH = 0.75
"""The strength of img2img if the request leaves it open; inpaint starts from noise alone."""


def complete_drawing(request: DrawRequest, catalog: Catalog, problems: Problems) -> DrawParams:
    """The effective parameters of ``request``; raises :class:`InvalidTicket` if there is no such model."""
    model = catalog.resolve(request.model)
    if model is None:
        problems.note("model", unknown_name("model", str(request.model), catalog))
        raise InvalidTicket(problems.found)
    params = _filled_in(request, model, catalog, problems)
    check(request.kind, params, model, catalog, problems)
    return params


def _filled_in(request: DrawRequest, model: ModelSpec, catalog: Catalog, problems: Problems) -> DrawParams:
    """``request`` with every choice made. A name that cannot be resolved is noted, and kept as it is."""
    defaults = model.defaults
    prompt, tags = _without_tags(request.prompt)
    width, height = _size(request, model, problems)
    steps = value_or(request.num_inference_steps, defaults.num_inference_steps)
    return DrawParams(
        prompt=prompt,
        negative_prompt=value_or(request.negative_prompt, defaults.negative_prompt),
        model=model.name,
        sampler=defaults.sampler if request.sampler is None else find_sampler(request.sampler) or request.sampler,
        num_inference_steps=steps,
        guidance_scale=float(value_or(request.guidance_scale, defaults.guidance_scale)),
        seed=_seed(request.seed),
        variation=_variation(request.variation),
        best_of=value_or(request.best_of, DrawParams.best_of),
        keep=value_or(request.keep, DrawParams.keep),
        min_score=None if request.min_score is None else float(request.min_score),
        width=width,
        height=height,
        style_preset=_style(request.style_preset, problems),
        clip_skip=value_or(request.clip_skip, DrawParams.clip_skip),
        loras=_loras(request.loras, tags, model, catalog, problems),
        image=request.image,
        strength=float(value_or(request.strength, _usual_strength(request.kind))),
        resize_mode=value_or(request.resize_mode, DrawParams.resize_mode),
        mask=request.mask,
        controls=tuple(_control(control, catalog) for control in request.controls),
        second_pass=_second_pass(request.second_pass, steps, catalog),
        refiner=_refiner(request.refiner, catalog),
        reuse_interval=value_or(request.reuse_interval, DrawParams.reuse_interval),
        priority=value_or(request.priority, DrawParams.priority),
        enhance_prompt=value_or(request.enhance_prompt, DrawParams.enhance_prompt),
        enhance_negative_prompt=value_or(request.enhance_negative_prompt, DrawParams.enhance_negative_prompt),
        metadata=value_or(request.metadata, DrawParams.metadata),
        provenance=value_or(request.provenance, DrawParams.provenance),
    )


def _seed(requested: int | None) -> int:
    return secrets.randbelow(DRAWN_SEED_MAX + 1) if requested is None or requested == -1 else requested


def _variation(variation: Variation | None) -> Variation | None:
    return variation and replace(variation, seed=_seed(variation.seed), strength=float(variation.strength))


def _usual_strength(kind: str) -> float:
    return DrawParams.strength if kind in (TXT2IMG, INPAINT) else IMG2IMG_STRENGTH


def _without_tags(prompt: str) -> tuple[str, list[LoraTag]]:
    """The prompt without its LoRA tags, and the LoRA of each tag.

    A prompt that cannot be parsed is kept as it is: the checks refuse it later.
    """
    try:
        text, tags = extract_loras(prompt)
    except PromptError:
        return prompt, []
    return (text.strip(), tags) if tags else (prompt, [])


def _size(request: DrawRequest, model: ModelSpec, problems: Problems) -> tuple[int, int]:
    """Width and height as requested, or those of the aspect ratio at the area of the model's default size."""
    if request.aspect_ratio is not None:
        if request.width is None and request.height is None:
            return aspect_size(request.aspect_ratio, model, problems)
        problems.note("aspect_ratio", Problem("cannot be combined with width or height", ProblemCode.CONFLICT))
    return value_or(request.width, model.defaults.width), value_or(request.height, model.defaults.height)


def _style(name: str | None, problems: Problems) -> str | None:
    if name is None:
        return None
    style = find_style(name)
    if style is None:
        message = f"there is no style {quoted(name)}{did_you_mean(name, STYLES)}; GET /v1/styles lists all styles"
        problems.note("style_preset", Problem(message, ProblemCode.UNKNOWN_NAME, allowed=tuple(STYLES)))
        return None
    return style.name


def _loras(
    uses: tuple[LoraUse, ...],
    tags: list[LoraTag],
    model: ModelSpec,
    catalog: Catalog,
    problems: Problems,
) -> tuple[LoraUse, ...]:
    """The LoRAs of the request and of the prompt; see :func:`summed_loras`."""
    named = [(f"loras[{index}].name", use) for index, use in enumerate(uses)]
    named += [("prompt", LoraUse(**tag._asdict())) for tag in tags]
    if len(named) > LORAS_MAX:
        message = f"there may be at most {LORAS_MAX}, including the tags in the prompt, and there are {len(named)}"
        problems.note("loras", Problem(message, ProblemCode.TOO_LONG, high=LORAS_MAX))
        return ()
    return summed_loras(named, model, catalog, problems)


def _control(control: Control, catalog: Catalog) -> Control:
    found = catalog.controlnets.resolve(control.model)
    return control if found is None else replace(control, model=found.name)


def _second_pass(second_pass: SecondPass | None, steps: int, catalog: Catalog) -> SecondPass | None:
    if second_pass is None:
        return None
    return replace(
        second_pass,
        num_inference_steps=value_or(second_pass.num_inference_steps, steps),
        upscaler=upscaler_name(second_pass.upscaler, catalog),
    )


def _refiner(refiner: Refiner | None, catalog: Catalog) -> Refiner | None:
    found = None if refiner is None else catalog.resolve(refiner.model)
    return refiner if refiner is None or found is None else replace(refiner, model=found.name)

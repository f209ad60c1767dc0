"""From a request to a complete ticket: defaults filled in, bounds checked, names resolved, the seed drawn."""

from __future__ import annotations

import secrets
import uuid
from dataclasses import replace
from typing import TypeVar

from models.catalog.catalog import Catalog, ModelSpec
from models.catalog.faces import SWAP_REFUSAL, restore_problem
from models.catalog.families import INPAINT, TXT2IMG
from models.catalog.styles import find_style
from models.catalog.upscalers import BUILT_IN_UPSCALERS, UPSCALE_FACTORS, find_upscaler, upscaler_problem
from models.errors import FieldProblem, InvalidTicket
from models.jobs.auxiliary_checks import LORAS_MAX
from models.jobs.checks import Problems, extra_problem, range_problem, unknown
from models.jobs.drawing_checks import aspect_size, check, check_kind
from models.jobs.params import (
    DRAWN_SEED_MAX,
    PRIORITY_MAX,
    Control,
    DrawParams,
    DrawRequest,
    FaceRestoreParams,
    FaceRestoreRequest,
    FaceSwapRequest,
    LoraUse,
    Params,
    Refiner,
    Request,
    SecondPass,
    UpscaleParams,
    UpscaleRequest,
)
from models.jobs.prompts import PromptError, extract_loras
from models.jobs.records import Ticket
from models.jobs.sources import source_problem, sources_of

IMG2IMG_STRENGTH = 0.75
"""The strength of img2img where the request leaves it open; an inpainted area is drawn from noise alone."""
UPSCALER = "Lanczos"
"""What enlarges images where the request leaves it open."""

_T = TypeVar("_T")


def open_ticket(request: Request, catalog: Catalog, *, job_id: str, owner: str) -> Ticket:
    """The ticket for ``request``.

    Raises:
        InvalidTicket: with every problem found, if the request cannot be done; a capability that this server lacks is
            told as ``... not available: ...``.
    """
    params = complete_any(request, catalog)
    return Ticket(job_id=job_id, kind=request.kind, owner=owner, params=params, image_id=_image_id(job_id))


def _image_id(job_id: str) -> str:
    """The job's own id where it cannot be guessed, so that old clients find ``{job}.png``; else a new one."""
    try:
        return job_id if str(uuid.UUID(job_id, version=4)) == job_id else str(uuid.uuid4())
    except ValueError:
        return str(uuid.uuid4())


def complete_any(request: Request, catalog: Catalog) -> Params:
    """The effective parameters of a request of any kind; raises :class:`InvalidTicket` as :func:`open_ticket` does."""
    match request:
        case DrawRequest():
            return complete(request, catalog)
        case UpscaleRequest():
            return _complete_upscale(request, catalog)
        case FaceRestoreRequest():
            return _complete_face_restore(request, catalog)
        case FaceSwapRequest():
            raise InvalidTicket([FieldProblem("kind", SWAP_REFUSAL)])


def _complete_upscale(request: UpscaleRequest, catalog: Catalog) -> UpscaleParams:
    problems = _source_problems(request)
    scale, upscaler = _or(request.scale, UPSCALE_FACTORS[0]), _or(request.upscaler, UPSCALER)
    if scale not in UPSCALE_FACTORS:
        problems.note("scale", f"must be {' or '.join(map(str, UPSCALE_FACTORS))}")
    problems.note("upscaler", upscaler_problem(upscaler, catalog.upscalers))
    priority = _priority(request.priority, problems)
    problems.raise_if_any()
    return UpscaleParams(image=request.image, scale=scale, upscaler=_upscaler(upscaler, catalog), priority=priority)


def _upscaler(name: str, catalog: Catalog) -> str:
    """What the catalog calls the weights of ``name``, if it needs some."""
    found = None if name in BUILT_IN_UPSCALERS else find_upscaler(name, catalog.upscalers)
    return name if found is None else found.name


def _complete_face_restore(request: FaceRestoreRequest, catalog: Catalog) -> FaceRestoreParams:
    problems = _source_problems(request)
    problems.note("kind", restore_problem(catalog.faces))
    priority = _priority(request.priority, problems)
    problems.raise_if_any()
    return FaceRestoreParams(image=request.image, priority=priority)


def _priority(requested: int | None, problems: Problems) -> int:
    priority = _or(requested, 0)
    problems.note("priority", range_problem(priority, -PRIORITY_MAX, PRIORITY_MAX))
    return priority


def _source_problems(request: Request) -> Problems:
    problems = Problems()
    for field, source in sources_of(request):
        problems.note(field, source_problem(source))
    return problems


def complete(request: DrawRequest, catalog: Catalog) -> DrawParams:
    """The effective parameters of ``request``; raises :class:`InvalidTicket` as :func:`open_ticket` does."""
    model = catalog.resolve(request.model)
    if model is None:
        raise InvalidTicket([FieldProblem("model", unknown("model", str(request.model), catalog))])
    problems = _source_problems(request)
    check_kind(request, problems)
    params = _filled_in(request, model, catalog, problems)
    check(request.kind, params, model, catalog, problems)
    problems.raise_if_any()
    return params


def _filled_in(request: DrawRequest, model: ModelSpec, catalog: Catalog, problems: Problems) -> DrawParams:
    """``request`` with every choice made; what could not be resolved is noted, and stays as it was named."""
    defaults = model.defaults
    prompt, tags = _without_tags(request.prompt)
    width, height = _size(request, model, problems)
    steps = _or(request.num_inference_steps, defaults.num_inference_steps)
    return DrawParams(
        prompt=prompt,
        negative_prompt=_or(request.negative_prompt, defaults.negative_prompt),
        model=model.name,
        sampler=_or(request.sampler, defaults.sampler),
        num_inference_steps=steps,
        guidance_scale=float(_or(request.guidance_scale, defaults.guidance_scale)),
        seed=_seed(request.seed),
        width=width,
        height=height,
        style_preset=_style(request.style_preset, problems),
        clip_skip=_or(request.clip_skip, DrawParams.clip_skip),
        loras=_loras(request.loras, tags, model, catalog, problems),
        image=request.image,
        strength=float(_or(request.strength, _usual_strength(request.kind))),
        resize_mode=_or(request.resize_mode, DrawParams.resize_mode),
        mask=request.mask,
        controls=tuple(_control(control, catalog) for control in request.controls),
        second_pass=_second_pass(request.second_pass, steps, catalog),
        refiner=_refiner(request.refiner, catalog),
        reuse_interval=_or(request.reuse_interval, DrawParams.reuse_interval),
        priority=_or(request.priority, DrawParams.priority),
        enhance_prompt=_or(request.enhance_prompt, DrawParams.enhance_prompt),
        enhance_negative_prompt=_or(request.enhance_negative_prompt, DrawParams.enhance_negative_prompt),
    )


def _or(value: _T | None, default: _T) -> _T:
    return default if value is None else value


def _seed(requested: int | None) -> int:
    return secrets.randbelow(DRAWN_SEED_MAX + 1) if requested is None or requested == -1 else requested


def _usual_strength(kind: str) -> float:
    return DrawParams.strength if kind in (TXT2IMG, INPAINT) else IMG2IMG_STRENGTH


def _without_tags(prompt: str) -> tuple[str, list[tuple[str, float]]]:
    """The prompt without the tags of LoRAs, and what they say; a prompt that cannot be read stays, to be refused."""
    try:
        text, tags = extract_loras(prompt)
    except PromptError:
        return prompt, []
    return (text.strip(), tags) if tags else (prompt, [])


def _size(request: DrawRequest, model: ModelSpec, problems: Problems) -> tuple[int, int]:
    """Width and height as asked for, or of the aspect ratio at the area of the model's default size."""
    if request.aspect_ratio is not None:
        if request.width is None and request.height is None:
            return aspect_size(request.aspect_ratio, model, problems)
        problems.note("aspect_ratio", "excludes width and height")
    return _or(request.width, model.defaults.width), _or(request.height, model.defaults.height)


def _style(name: str | None, problems: Problems) -> str | None:
    if name is None:
        return None
    style = find_style(name)
    if style is None:
        problems.note("style_preset", f"there is no style {name!r}; GET /v1/styles lists them")
        return None
    return style.name


def _loras(
    uses: tuple[LoraUse, ...],
    tags: list[tuple[str, float]],
    model: ModelSpec,
    catalog: Catalog,
    problems: Problems,
) -> tuple[LoraUse, ...]:
    """Those of the request and of the prompt's tags by the catalog's names, the weights of each one added up."""
    named = [(f"loras[{index}].name", use.name, use.weight) for index, use in enumerate(uses)]
    named += [("prompt", name, weight) for name, weight in tags]
    if len(named) > LORAS_MAX:
        problems.note("loras", f"there may be at most {LORAS_MAX}, the tags in the prompt included; {len(named)} are")
        return ()
    weights: dict[str, float] = {}
    for field, name, weight in named:
        lora = catalog.loras.resolve(name)
        problems.note(field, extra_problem("LoRA", name, lora, catalog.loras, model.family))
        if lora is not None:
            weights[lora.name] = weights.get(lora.name, 0.0) + weight
    return tuple(LoraUse(name=name, weight=float(weight)) for name, weight in weights.items())


def _control(control: Control, catalog: Catalog) -> Control:
    found = catalog.controlnets.resolve(control.model)
    return control if found is None else replace(control, model=found.name)


def _second_pass(second_pass: SecondPass | None, steps: int, catalog: Catalog) -> SecondPass | None:
    if second_pass is None:
        return None
    return replace(
        second_pass,
        num_inference_steps=_or(second_pass.num_inference_steps, steps),
        upscaler=_upscaler(second_pass.upscaler, catalog),
    )


def _refiner(refiner: Refiner | None, catalog: Catalog) -> Refiner | None:
    found = None if refiner is None else catalog.resolve(refiner.model)
    return refiner if refiner is None or found is None else replace(refiner, model=found.name)

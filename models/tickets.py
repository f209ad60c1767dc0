"""From a request to a complete ticket: defaults filled in, bounds checked, the model resolved, the seed drawn."""

from __future__ import annotations

import re
import secrets
import uuid
from typing import TypeVar

from models.catalog import Catalog, ModelSpec
from models.errors import FieldProblem, InvalidTicket
from models.job import Ticket
from models.params import (
    DRAWN_SEED_MAX,
    GUIDANCE_MAX,
    PROMPT_MAX_CHARS,
    SEED_MAX,
    SIZE_MULTIPLE_PX,
    TXT2IMG,
    Txt2ImgParams,
    Txt2ImgRequest,
)
from models.samplers import SAMPLERS

_T = TypeVar("_T")
_LORA_TAG = re.compile(r"<lora:[^>]+>", re.IGNORECASE)


def open_ticket(request: Txt2ImgRequest, catalog: Catalog, *, job_id: str, owner: str) -> Ticket:
    """The ticket for ``request``.

    Raises:
        InvalidTicket: with every problem found, if the request cannot be drawn.
    """
    params = complete(request, catalog)
    return Ticket(job_id=job_id, kind=TXT2IMG, owner=owner, params=params, image_id=_image_id(job_id))


def _image_id(job_id: str) -> str:
    """The job's own id where it cannot be guessed, so that old clients find ``{job}.png``; else a new one."""
    try:
        return job_id if str(uuid.UUID(job_id, version=4)) == job_id else str(uuid.uuid4())
    except ValueError:
        return str(uuid.uuid4())


def complete(request: Txt2ImgRequest, catalog: Catalog) -> Txt2ImgParams:
    """The effective parameters of ``request``; raises :class:`InvalidTicket` as :func:`open_ticket` does."""
    model = catalog.resolve(request.model)
    if model is None:
        known = ", ".join(catalog)
        raise InvalidTicket([FieldProblem("model", f"there is no model {request.model!r}; there are: {known}")])
    defaults = model.defaults
    params = Txt2ImgParams(
        prompt=request.prompt,
        negative_prompt=_or(request.negative_prompt, defaults.negative_prompt),
        model=model.name,
        sampler=_or(request.sampler, defaults.sampler),
        num_inference_steps=_or(request.num_inference_steps, defaults.num_inference_steps),
        guidance_scale=float(_or(request.guidance_scale, defaults.guidance_scale)),
        seed=_seed(request.seed),
        width=_or(request.width, defaults.width),
        height=_or(request.height, defaults.height),
    )
    problems = check(params, model)
    if problems:
        raise InvalidTicket(problems)
    return params


def _or(value: _T | None, default: _T) -> _T:
    return default if value is None else value


def _seed(requested: int | None) -> int:
    return secrets.randbelow(DRAWN_SEED_MAX + 1) if requested is None or requested == -1 else requested


def check(params: Txt2ImgParams, model: ModelSpec) -> list[FieldProblem]:
    """Everything that ``model`` cannot draw about ``params``."""
    checks = {
        "prompt": _prompt_problem(params.prompt),
        "negative_prompt": _length_problem(params.negative_prompt),
        "sampler": _sampler_problem(params.sampler),
        "num_inference_steps": _range_problem(params.num_inference_steps, 1, model.limits.max_steps),
        "guidance_scale": _range_problem(params.guidance_scale, 0, GUIDANCE_MAX),
        "seed": _range_problem(params.seed, 0, SEED_MAX),
        "width": _size_problem(params.width, model),
        "height": _size_problem(params.height, model),
    }
    return [FieldProblem(field, message) for field, message in checks.items() if message is not None]


def _prompt_problem(prompt: str) -> str | None:
    if not prompt.strip():
        return "must not be empty"
    if _LORA_TAG.search(prompt):
        return "names a LoRA, and LoRAs cannot be used yet"
    return _length_problem(prompt)


def _length_problem(text: str) -> str | None:
    if len(text) > PROMPT_MAX_CHARS:
        return f"must have at most {PROMPT_MAX_CHARS} characters, has {len(text)}"
    if "\0" in text:
        return "must not contain NUL characters"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "must be valid Unicode text"
    return None


def _sampler_problem(sampler: str) -> str | None:
    return None if sampler in SAMPLERS else f"there is no sampler {sampler!r}; there are: {', '.join(SAMPLERS)}"


def _range_problem(value: float, low: float, high: float) -> str | None:
    if low <= value <= high:
        return None
    return f"must be from {low:g} to {high:.16g}"


def _size_problem(size_px: int, model: ModelSpec) -> str | None:
    limits = model.limits
    if limits.min_px <= size_px <= limits.max_px and size_px % SIZE_MULTIPLE_PX == 0:
        return None
    return f"must be a multiple of {SIZE_MULTIPLE_PX} from {limits.min_px} to {limits.max_px} for {model.name}"

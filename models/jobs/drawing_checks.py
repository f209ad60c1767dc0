"""Checks of the parameters of an image against the model that is to generate it."""

from __future__ import annotations

import math
from collections.abc import Callable

from models.catalog.catalog import Catalog, ModelSpec
from models.catalog.families import FAMILIES, TXT2IMG, FamilyFacts
from models.catalog.styles import find_style
from models.errors import Problem, ProblemCode
from models.jobs.auxiliary_checks import check_auxiliaries
from models.jobs.checks import Problems, range_problem, sampling_problem, text_problem
from models.jobs.composition import check_composition, compose, is_composed, plain_text, styled
from models.jobs.params import ASPECT_RATIOS, BEST_OF_MAX, DrawParams
from models.jobs.prompts import PromptError, parse
from models.language.lengths import length_problem


def check(kind: str, params: DrawParams, model: ModelSpec, catalog: Catalog, problems: Problems) -> None:
    """Note everything in ``params`` that ``model``, with the auxiliary models in ``catalog``, cannot do."""
    facts = FAMILIES.get(model.family)
    if facts is None:
        families = ", ".join(FAMILIES)
        message = f"{model.name} is of the family {model.family!r}, and this server supports only {families}"
        problems.note("model", Problem(message, ProblemCode.UNAVAILABLE))
        return
    if (broken := model.weights_problem()) is not None:
        problems.note("model", Problem(f"{model.name} cannot be used: {broken}", ProblemCode.UNAVAILABLE))
    _check_family(kind, params, model, facts, problems)
    _check_texts(params, model, problems)
    _check_numbers(params, model, facts, problems)
    _check_candidates(params, problems)
    _check_sampling(kind, params, facts, problems)
    check_auxiliaries(kind, params, model, facts, catalog, problems)


def _check_family(kind: str, params: DrawParams, model: ModelSpec, facts: FamilyFacts, problems: Problems) -> None:
    if kind not in facts.kinds:
        message = f"{model.name} cannot do kind {kind}, only {' and '.join(facts.kinds)}"
        problems.note("model", Problem(message, ProblemCode.NOT_APPLICABLE))
    unable = Problem(f"has no effect on models of {model.family}", ProblemCode.NOT_APPLICABLE)
    if params.negative_prompt and not facts.takes_negative_prompt:
        problems.note("negative_prompt", unable)
    if is_composed(params.prompt) and not facts.takes_negative_prompt:
        message = f"models of {model.family} cannot compose parts by AND, which needs classifier-free guidance"
        problems.note("prompt", Problem(message, ProblemCode.NOT_APPLICABLE))
    if params.clip_skip > 1 and not facts.takes_clip_skip:
        problems.note("clip_skip", unable)
    if params.reuse_interval > 1 and (params.controls or facts.denoiser != FamilyFacts.denoiser):
        message = "must be 1: only UNets without ControlNets can reuse features"
        problems.note("reuse_interval", Problem(message, ProblemCode.NOT_APPLICABLE))
    if params.controls and not facts.takes_controlnets:
        message = f"not available: ControlNets for models of {model.family}"
        problems.note("controls", Problem(message, ProblemCode.UNAVAILABLE))


def aspect_size(name: str, model: ModelSpec, problems: Problems) -> tuple[int, int]:
    """Width and height of that aspect ratio: the area of the model's default size, but never beyond its limits.

    The sides are rounded to multiples of 8, or of what the family needs. Where the longer one would exceed ``max_px``,
    both shrink.
    """
    defaults, limits = model.defaults, model.limits
    if name not in ASPECT_RATIOS:
        return defaults.width, defaults.height  # refused by its declared choices
    across, down = ASPECT_RATIOS[name]
    grid_px = model.grid_px
    unit_px = math.sqrt(defaults.width * defaults.height / (across * down))
    unit_px = min(unit_px, limits.max_px // grid_px * grid_px / max(across, down))
    width, height = (round(side * unit_px / grid_px) * grid_px for side in (across, down))
    if min(width, height) < limits.min_px:
        message = f"{width} x {height} px would be below the {limits.min_px} px of {model.name}"
        problems.note("aspect_ratio", Problem(message, ProblemCode.OUT_OF_RANGE, low=limits.min_px))
        return defaults.width, defaults.height
    return width, height


def _check_texts(params: DrawParams, model: ModelSpec, problems: Problems) -> None:
    style = None if params.style_preset is None else find_style(params.style_preset)
    prompt, negative_prompt = params.prompt, params.negative_prompt
    drawn, drawn_negative = (prompt, negative_prompt) if style is None else styled(style, prompt, negative_prompt)
    problems.note(
        "prompt",
        text_problem(prompt) or _syntax_problem(prompt, check_composition) or _length_problem(model, drawn),
    )
    problems.note(
        "negative_prompt",
        text_problem(negative_prompt)
        or _syntax_problem(negative_prompt, lambda text: bool(parse(text).loras))
        or length_problem(model, drawn_negative),
    )


def _length_problem(model: ModelSpec, prompt: str) -> Problem | None:
    """A problem if a part of ``prompt``, which may be composed by ``AND``, is longer than ``model`` reads."""
    try:
        texts = compose(prompt).texts
    except PromptError:
        return None  # reported as such
    return next(filter(None, (length_problem(model, text) for text in texts)), None)


def _syntax_problem(text: str, has_loras: Callable[[str], bool]) -> Problem | None:
    """A problem unless ``has_loras`` can parse ``text``, from which LoRA tags were removed if it is the prompt."""
    try:
        found = has_loras(text)
    except PromptError as error:
        return Problem(str(error), ProblemCode.MALFORMED)
    if not found:
        return None
    message = "contains a LoRA tag; LoRAs apply to the whole image: put the tag into the prompt"
    return Problem(message, ProblemCode.NOT_APPLICABLE)


def _check_numbers(params: DrawParams, model: ModelSpec, facts: FamilyFacts, problems: Problems) -> None:
    """Bounds that depend on the model; the others are declared with the parameters."""
    problems.note("num_inference_steps", range_problem(params.num_inference_steps, 1, model.limits.max_steps))
    problems.note("width", size_problem(params.width, model, facts.size_multiple_px))
    problems.note("height", size_problem(params.height, model, facts.size_multiple_px))
    problems.note("clip_skip", range_problem(params.clip_skip, 1, model.limits.max_clip_skip))


def _check_candidates(params: DrawParams, problems: Problems) -> None:
    if 1 <= params.best_of < params.keep <= BEST_OF_MAX:  # other values are beyond their declared bounds
        message = f"must be at most best_of, which is {params.best_of}"
        problems.note("keep", Problem(message, ProblemCode.OUT_OF_RANGE, 1, params.best_of))
    if params.best_of > 1 and not _has_words(params.prompt):
        message = "must be 1 without words in the prompt: the candidates are compared with them"
        problems.note("best_of", Problem(message, ProblemCode.NOT_APPLICABLE))
    if params.min_score is not None and not _has_words(params.prompt):
        message = "must be left out without words in the prompt: the image is compared with them"
        problems.note("min_score", Problem(message, ProblemCode.NOT_APPLICABLE))


def _has_words(prompt: str) -> bool:
    try:
        return bool(plain_text(prompt))
    except PromptError:
        return True  # reported as such


def size_problem(size_px: int, model: ModelSpec, grid_px: int) -> Problem | None:
    """A problem unless ``model`` draws images with a side of ``size_px``."""
    limits = model.limits
    if limits.min_px <= size_px <= limits.max_px and size_px % grid_px == 0:
        return None
    multiple = f"a multiple of {grid_px} " if size_px % grid_px else ""
    message = f"must be {multiple}from {limits.min_px} to {limits.max_px} for {model.name}"
    is_within = limits.min_px <= size_px <= limits.max_px
    code = ProblemCode.INVALID if is_within else ProblemCode.OUT_OF_RANGE
    return Problem(message, code, limits.min_px, limits.max_px)


def _check_sampling(kind: str, params: DrawParams, facts: FamilyFacts, problems: Problems) -> None:
    steps = params.num_inference_steps
    problems.note("sampler", sampling_problem(params.sampler, steps, facts, img2img=kind != TXT2IMG))

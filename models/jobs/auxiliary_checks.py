"""Checks of the auxiliary models of an image: LoRAs, ControlNets, second passes and refiners."""

from __future__ import annotations

from models.catalog.catalog import Catalog, ModelSpec
from models.catalog.families import IMG2IMG, INPAINT, FamilyFacts
from models.catalog.names import unknown_name
from models.catalog.preprocessors import PREPROCESSORS, Preprocessor, find_preprocessor
from models.catalog.samplers import SAMPLERS
from models.catalog.upscalers import upscaler_problem
from models.errors import Problem, ProblemCode
from models.jobs.checks import (
    Problems,
    auxiliary_problem,
    range_problem,
    sampling_problem,
)
from models.jobs.loras import check_loras
from models.jobs.params import (
    CONTROLS_MAX,
    SECOND_PASS_SCALE_MAX,
    Control,
    DrawParams,
    Refiner,
    SecondPass,
)

SECOND_PASS_SIZE = 2
"""A second pass may make an image this many times as wide and high as the model's ``max_px``."""


def check_auxiliaries(
    kind: str, params: DrawParams, model: ModelSpec, facts: FamilyFacts, catalog: Catalog, problems: Problems
) -> None:
    """Note every auxiliary model of ``params`` that cannot be used with ``model``, or not with these settings."""
    check_loras(params.loras, model, facts, problems)
    for index, control in enumerate(params.controls[:CONTROLS_MAX]):
        _check_control(f"controls[{index}]", control, params, model, catalog, problems)
    if params.second_pass is not None:
        _check_second_pass(params.second_pass, params, model, facts, catalog, problems)
    if params.refiner is not None:
        _check_refiner(kind, params.refiner, model, facts, catalog, problems)


def _check_control(
    place: str, control: Control, params: DrawParams, model: ModelSpec, catalog: Catalog, problems: Problems
) -> None:
    found = catalog.controlnets.resolve(control.model)
    problems.note(
        f"{place}.model", auxiliary_problem("ControlNet", control.model, found, catalog.controlnets, model.family)
    )
    if control.image is None and params.image is None:
        message = "is required if the job does not start from an image"
        problems.note(f"{place}.image", Problem(message, ProblemCode.REQUIRED))
    if control.start >= control.end:
        problems.note(f"{place}.start", Problem("must be below end", ProblemCode.CONFLICT))
    _check_preprocessor(place, control, catalog, problems)


def _check_preprocessor(place: str, control: Control, catalog: Catalog, problems: Problems) -> None:
    found = find_preprocessor(control.preprocessor)
    if found is None:
        problems.note(f"{place}.preprocessor", unknown_name("preprocessor", control.preprocessor, PREPROCESSORS))
        return
    refusal = preprocessor_problem(found, catalog)
    problems.note(f"{place}.preprocessor", refusal and Problem(refusal, ProblemCode.UNAVAILABLE))
    for field in ("threshold_a", "threshold_b"):
        value, threshold = getattr(control, field), getattr(found, field)
        if value is None:
            continue
        if threshold is None:
            message = f"has no effect on the preprocessor {found.name!r}"
            problems.note(f"{place}.{field}", Problem(message, ProblemCode.NOT_APPLICABLE))
        else:
            problems.note(f"{place}.{field}", range_problem(value, threshold.low, threshold.high))


def preprocessor_problem(preprocessor: Preprocessor, catalog: Catalog) -> str | None:
    """Why ``preprocessor`` cannot be used with the weights that the catalog has; ``None`` if it can."""
    name, weights = preprocessor.name, preprocessor.weights
    if preprocessor.refusal is not None:
        return f"{name} is not available: {preprocessor.refusal}"
    if weights is None or weights in catalog.preprocessors:
        return None
    return f"{name} is not available: it needs weights; set file or folder in [preprocessors.{weights}]"


def _check_second_pass(
    second: SecondPass,
    params: DrawParams,
    model: ModelSpec,
    facts: FamilyFacts,
    catalog: Catalog,
    problems: Problems,
) -> None:
    steps, max_px = second.num_inference_steps or 0, model.limits.max_px * SECOND_PASS_SIZE
    if 1 <= second.scale <= SECOND_PASS_SCALE_MAX and max(params.width, params.height) > max_px / second.scale:
        message = f"makes the image larger than {max_px} x {max_px} px"
        problems.note("second_pass.scale", Problem(message, ProblemCode.OUT_OF_RANGE))
    problems.note("second_pass.upscaler", upscaler_problem(second.upscaler, catalog.upscalers))
    problems.note("second_pass.num_inference_steps", range_problem(steps, 1, model.limits.max_steps))
    if IMG2IMG not in facts.kinds:
        message = f"not available: img2img, and with it a second pass, for models of {model.family}"
        problems.note("second_pass", Problem(message, ProblemCode.UNAVAILABLE))
    if params.sampler in SAMPLERS:
        problems.note("second_pass", sampling_problem(params.sampler, steps, facts, img2img=True))


def _check_refiner(
    kind: str, refiner: Refiner, model: ModelSpec, facts: FamilyFacts, catalog: Catalog, problems: Problems
) -> None:
    found, able = catalog.resolve(refiner.model), (facts.refiner, model.family)
    if facts.refiner is None:
        problems.note("refiner", Problem(f"has no effect on models of {model.family}", ProblemCode.NOT_APPLICABLE))
    elif found is None:
        problems.note("refiner.model", unknown_name("model", refiner.model, catalog))
    elif found.family not in able:
        message = f"{found.name} is of the family {found.family}, not {' or '.join(map(str, able))}"
        problems.note("refiner.model", Problem(message, ProblemCode.NOT_APPLICABLE))
    if kind == INPAINT:
        problems.note("refiner", Problem("not available: a refiner for kind inpaint", ProblemCode.UNAVAILABLE))

"""What helps to draw an image: the rules about LoRAs, ControlNets, second passes and refiners."""

from __future__ import annotations

from models.catalog.catalog import Catalog, ModelSpec
from models.catalog.families import INPAINT, FamilyFacts
from models.catalog.preprocessors import PREPROCESSORS, Preprocessor, find_preprocessor
from models.catalog.samplers import SAMPLERS
from models.catalog.upscalers import upscaler_problem
from models.jobs.checks import (
    Problems,
    choice_problem,
    extra_problem,
    range_problem,
    sampling_problem,
    strength_problem,
    unknown,
)
from models.jobs.params import CONTROL_MODES, LORA_WEIGHT_MAX, RESIZE_MODES, Control, DrawParams, Refiner, SecondPass

LORAS_MAX = 8
CONTROLS_MAX = 4
CONTROL_WEIGHT_MAX = 2.0
SECOND_PASS_SCALE_MAX = 4.0
SECOND_PASS_SIZE = 2
"""A second pass may make an image so many times as wide and high as the model's ``max_px``."""


def check_helpers(
    kind: str, params: DrawParams, model: ModelSpec, facts: FamilyFacts, catalog: Catalog, problems: Problems
) -> None:
    """Note every helper of ``params`` that cannot be used with ``model``, or not in that way."""
    _check_loras(params, problems)
    if len(params.controls) > CONTROLS_MAX:
        problems.note("controls", f"there may be at most {CONTROLS_MAX}, and there are {len(params.controls)}")
    for index, control in enumerate(params.controls[:CONTROLS_MAX]):
        _check_control(f"controls[{index}]", control, params, model, catalog, problems)
    if params.second_pass is not None:
        _check_second_pass(params.second_pass, params, model, facts, catalog, problems)
    if params.refiner is not None:
        _check_refiner(kind, params.refiner, model, facts, catalog, problems)


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
        problems.note(f"{place}.image", "is required where the job starts from no image")
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
    if not 1 < second.scale <= SECOND_PASS_SCALE_MAX:
        problems.note("second_pass.scale", f"must be above 1 and at most {SECOND_PASS_SCALE_MAX:g}")
    elif max(params.width, params.height) > max_px / second.scale:
        problems.note("second_pass.scale", f"makes the image larger than {max_px} x {max_px} px")
    problems.note("second_pass.upscaler", upscaler_problem(second.upscaler, catalog.upscalers))
    problems.note("second_pass.num_inference_steps", range_problem(steps, 1, model.limits.max_steps))
    problems.note("second_pass.strength", strength_problem(second.strength, steps))
    if params.sampler in SAMPLERS:
        problems.note("second_pass", sampling_problem(params.sampler, steps, facts, img2img=True))


def _check_refiner(
    kind: str, refiner: Refiner, model: ModelSpec, facts: FamilyFacts, catalog: Catalog, problems: Problems
) -> None:
    found, able = catalog.resolve(refiner.model), (facts.refiner, model.family)
    if facts.refiner is None:
        problems.note("refiner", f"means nothing to models of {model.family}")
    elif found is None:
        problems.note("refiner.model", unknown("model", refiner.model, catalog))
    elif found.family not in able:
        problems.note(
            "refiner.model", f"{found.name} is of the family {found.family}, not {' or '.join(map(str, able))}"
        )
    if kind == INPAINT:
        problems.note("refiner", "not available: a refiner for kind inpaint")
    if not 0 < refiner.start < 1:
        problems.note("refiner.start", "must be above 0 and below 1")

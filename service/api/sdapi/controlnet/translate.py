"""From the units of A1111's ControlNet extension, which are in ``alwayson_scripts``, to ControlNets of a request."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import ValidationError

from models.catalog.preprocessors import Preprocessor, Threshold, find_preprocessor
from models.errors import Problem, ProblemCode, quoted
from models.jobs.checks import Problems
from models.jobs.params import Control
from service.api.sdapi.controlnet.schemas import ControlNetUnit
from service.api.sdapi.names import MODE_NAMES, RESIZE_NAMES, find_control_mode, find_module, find_resize_mode
from service.api.validation import field_problems

_BOTH_PASSES = "both"


def read_units(args: Sequence[Any], problems: Problems, place: str) -> tuple[Control, ...]:
    """The ControlNets of the enabled units in ``args``; notes what is wrong with a unit.

    Args:
        place: the path of ``args`` in the body.
    """
    found = (_read_unit(unit, problems, f"{place}[{index}]") for index, unit in enumerate(args) if unit is not None)
    return tuple(control for control in found if control is not None)


def _read_unit(given: Any, problems: Problems, place: str) -> Control | None:
    try:
        unit = ControlNetUnit.model_validate(given)
    except ValidationError as error:
        for found in error.errors(include_url=False, include_input=False):
            (problem,) = field_problems([found])
            problems.add([problem.renamed(f"{place}.{problem.field}" if found["loc"] else place)])
        return None
    return _control(unit, problems, place) if unit.enabled else None


def _control(unit: ControlNetUnit, problems: Problems, place: str) -> Control:
    module = find_module(unit.module)
    threshold_a, threshold_b = _thresholds(unit, find_preprocessor(module))
    resize_mode, mode = find_resize_mode(unit.resize_mode), find_control_mode(unit.control_mode)
    _check_unsupported(unit, problems, place)
    problems.note(f"{place}.resize_mode", _mode_problem(unit.resize_mode, resize_mode, RESIZE_NAMES))
    problems.note(f"{place}.control_mode", _mode_problem(unit.control_mode, mode, MODE_NAMES))
    return Control(
        model=unit.model,
        image="".join(unit.image.split()) or None,
        preprocessor=module,
        threshold_a=threshold_a,
        threshold_b=threshold_b,
        weight=unit.weight,
        start=unit.guidance_start,
        end=unit.guidance_end,
        mode=mode or Control.mode,
        resize_mode=resize_mode or Control.resize_mode,
    )


def _check_unsupported(unit: ControlNetUnit, problems: Problems, place: str) -> None:
    checks = (
        ("mask", bool(unit.mask), "not available: masks of ControlNets"),
        ("advanced_weighting", bool(unit.advanced_weighting), "not available: use weight"),
        ("hr_option", unit.hr_option.lower() != _BOTH_PASSES, "not available: a ControlNet applies to both passes"),
    )
    for field, is_refused, reason in checks:
        if is_refused:
            problems.note(f"{place}.{field}", Problem(reason, ProblemCode.UNAVAILABLE))


def _thresholds(unit: ControlNetUnit, preprocessor: Preprocessor | None) -> tuple[float | None, float | None]:
    if preprocessor is None:
        return None, None
    threshold_a = _threshold(unit.threshold_a, preprocessor.threshold_a)
    return threshold_a, _threshold(unit.threshold_b, preprocessor.threshold_b)


def _threshold(value: float, threshold: Threshold | None) -> float | None:
    """``value``, or ``None`` for the default if it is out of range, as the extension does."""
    return value if threshold is not None and threshold.low <= value <= threshold.high else None


def _mode_problem(value: int | str, found: str | None, names: Iterable[str]) -> Problem | None:
    if found is not None:
        return None
    allowed: tuple[str | int, ...] = (0, 1, 2, *names)
    message = f"there is no mode {quoted(str(value))}; there are: {', '.join(map(str, allowed))}"
    return Problem(message, ProblemCode.NOT_ALLOWED, allowed=allowed)

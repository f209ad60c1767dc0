"""The units of A1111's ControlNet extension, as they stand in ``alwayson_scripts``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field, ValidationError, model_validator

from models.catalog.preprocessors import Preprocessor, Threshold, find_preprocessor
from models.jobs.checks import Problems
from models.jobs.params import Control
from service.api.errors import field_problems
from service.api.sdapi.fields import SdBody
from service.api.sdapi.names import find_control_mode, find_module, find_resize_mode

_OTHER_NAMES = {"input_image": "image", "guidance": "guidance_end"}
_BOTH_PASSES = "both"


class ControlNetUnit(SdBody):
    """One unit of the extension."""

    enabled: bool = True
    module: str = Field("none", description="From `GET /controlnet/module_list`.")
    model: str = Field("None", description="From `GET /controlnet/model_list`.")
    weight: float = 1
    image: str = Field("", description="Base64, or a URL; also as `input_image`. img2img's own image if left out.")
    mask: str = Field("", description="Refused unless it is empty.")
    resize_mode: int | str = Field("Crop and Resize", description="0, 1, 2 or the extension's words.")
    control_mode: int | str = Field("Balanced", description="0, 1, 2 or the extension's words.")
    threshold_a: float = Field(-1, description="Out of the module's range, it is the module's default.")
    threshold_b: float = Field(-1, description="Out of the module's range, it is the module's default.")
    guidance_start: float = 0
    guidance_end: float = 1
    processor_res: int = Field(-1, description="Taken, and without effect: modules work at the size that is drawn.")
    pixel_perfect: bool = Field(False, description="Taken, and without effect: it is always so.")
    hr_option: str = Field("Both", description="Refused unless it is `Both`.")
    advanced_weighting: list[float] = Field([], description="Refused unless it is empty.")

    @model_validator(mode="before")
    @classmethod
    def _with_new_names(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        renamed = {_OTHER_NAMES.get(name, name): value for name, value in given.items() if value is not None}
        image = renamed.get("image")
        # The extension also takes the image and its mask as one value.
        return {**renamed, **image} if isinstance(image, dict) else renamed


def read_units(args: Sequence[Any], problems: Problems, place: str) -> tuple[Control, ...]:
    """The ControlNets that the extension's arguments ask for; what cannot be had is noted."""
    found = (_read_unit(unit, problems, f"{place}[{index}]") for index, unit in enumerate(args) if unit is not None)
    return tuple(control for control in found if control is not None)


def _read_unit(given: Any, problems: Problems, place: str) -> Control | None:
    try:
        unit = ControlNetUnit.model_validate(given)
    except ValidationError as error:
        for found in error.errors(include_url=False, include_context=False, include_input=False):
            (problem,) = field_problems([found])
            problems.note(f"{place}.{problem.field}" if found["loc"] else place, problem.message)
        return None
    return _control(unit, problems, place) if unit.enabled else None


def _control(unit: ControlNetUnit, problems: Problems, place: str) -> Control:
    module = find_module(unit.module)
    threshold_a, threshold_b = _thresholds(unit, find_preprocessor(module))
    resize_mode, mode = find_resize_mode(unit.resize_mode), find_control_mode(unit.control_mode)
    problems.note(f"{place}.mask", "not available: masks of ControlNets" if unit.mask else None)
    problems.note(f"{place}.resize_mode", _unknown_word(unit.resize_mode, resize_mode))
    problems.note(f"{place}.control_mode", _unknown_word(unit.control_mode, mode))
    problems.note(f"{place}.advanced_weighting", "not available: use weight" if unit.advanced_weighting else None)
    if unit.hr_option.lower() != _BOTH_PASSES:
        problems.note(f"{place}.hr_option", "not available: a ControlNet steers both passes")
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


def _thresholds(unit: ControlNetUnit, preprocessor: Preprocessor | None) -> tuple[float | None, float | None]:
    if preprocessor is None:
        return None, None
    return _threshold(unit.threshold_a, preprocessor.threshold_a), _threshold(
        unit.threshold_b, preprocessor.threshold_b
    )


def _threshold(value: float, threshold: Threshold | None) -> float | None:
    """``value`` where it means something; the extension, too, takes the default for one out of range."""
    return value if threshold is not None and threshold.low <= value <= threshold.high else None


def _unknown_word(value: int | str, found: str | None) -> str | None:
    return f"there is no mode {value!r}" if found is None else None

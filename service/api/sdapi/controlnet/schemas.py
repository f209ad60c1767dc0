"""The bodies and answers of A1111's ControlNet extension."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field, model_validator

from service.api.sdapi.schemas import SdBody

INTERFACE_VERSION = 2
"""The version of the extension's interface."""
_ALIASES = {"input_image": "image", "guidance": "guidance_end"}


class ControlNetUnit(SdBody):
    """One ControlNet of a request; an empty text is the same as leaving the field out."""

    enabled: bool = True
    module: str = Field("none", description="From `GET /controlnet/module_list`.")
    model: str = Field("None", description="From `GET /controlnet/model_list`.")
    weight: float = 1
    image: str = Field(
        "", description="Base64 or a URL; if left out, the image of img2img. `input_image` is another name for it."
    )
    mask: str = Field("", description="Refused unless empty.")
    resize_mode: int | str = Field("Crop and Resize", description="0, 1, 2 or a name of the extension.")
    control_mode: int | str = Field("Balanced", description="0, 1, 2 or a name of the extension.")
    threshold_a: float = Field(-1, description="A value out of the module's range means the module's default.")
    threshold_b: float = Field(-1, description="A value out of the module's range means the module's default.")
    guidance_start: float = 0
    guidance_end: float = 1
    processor_res: int = Field(
        -1, description="Accepted without effect: modules always work at the size of the generated image."
    )
    pixel_perfect: bool = Field(False, description="Accepted without effect: it is always on.")
    hr_option: str = Field("Both", description="Refused unless it is `Both`.")
    advanced_weighting: list[float] = Field([], description="Refused unless empty.")

    @model_validator(mode="before")
    @classmethod
    def _resolve_aliases(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        renamed = {_ALIASES.get(name, name): value for name, value in given.items() if value not in (None, "")}
        image = renamed.get("image")
        # The extension also accepts the image and its mask as one object.
        return {**renamed, **image} if isinstance(image, dict) else renamed


class DetectBody(SdBody):
    """Images to preprocess; always refused."""

    controlnet_module: str = Field("none", description="From `GET /controlnet/module_list`.")
    controlnet_input_images: list[str] = Field([], description="Images in Base64.")


class VersionView(BaseModel):
    """The version of the extension's interface."""

    version: int = INTERFACE_VERSION


class ModelListView(BaseModel):
    """The names of the ControlNets."""

    model_list: list[str]


class SliderView(BaseModel):
    """A threshold of a module."""

    name: str
    value: float = Field(description="The default.")
    min: float
    max: float


class ModuleView(BaseModel):
    """A module (preprocessor)."""

    model_free: bool
    sliders: list[SliderView]


class ModuleListView(BaseModel):
    """The modules by name."""

    module_list: list[str]
    module_detail: dict[str, ModuleView]


class SettingsView(BaseModel):
    """The settings of the extension."""

    control_net_unit_count: int = Field(description="The largest number of ControlNets in one request.")

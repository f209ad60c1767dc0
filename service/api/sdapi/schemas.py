"""The bodies and the answer of txt2img and img2img: every field that A1111's clients send, with A1111's defaults."""

from __future__ import annotations

import math
import re
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from models.catalog.families import IMG2IMG, TXT2IMG
from service.api.sdapi.scripts import repeated_fields
from service.api.validation import require_short_texts

IMAGES_MAX = 64
"""The largest product of ``batch_size`` and ``n_iter``."""
SIDE_MAX_PX = 65_536
TASK_ID_MAX_CHARS = 1000

_BY_MODEL = "If left out, the model's default."
_REFUSED = "Refused unless it is left out or has the neutral value: "
_NO_EFFECT = "Accepted without effect: "


class SdBody(BaseModel):
    """The base of all bodies: null is the same as absent, numbers may be strings, and unknown fields are ignored.

    A fraction in the place of a whole number is cut, as in A1111: clients send what their sliders compute.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, given: Any) -> Any:
        return {name: value for name, value in given.items() if value is not None} if isinstance(given, dict) else given

    @field_validator("*", mode="before")
    @classmethod
    def _without_fraction(cls, given: Any, info: ValidationInfo) -> Any:
        is_whole = cls.model_fields[info.field_name or ""].annotation in (int, int | None)
        return _cut(given) if is_whole else given


_FRACTION = re.compile(r"\s*[+-]?(?:\d{1,18}\.\d*|\.\d+)\s*")


def _cut(given: Any) -> Any:
    """``given`` without its fraction, if it is a finite number with one, or the text of one."""
    if isinstance(given, str) and _FRACTION.fullmatch(given):
        given = float(given)
    return int(given) if isinstance(given, float) and math.isfinite(given) else given


class SdDrawBody(SdBody):
    """The fields that txt2img and img2img share."""

    task: ClassVar[str]

    prompt: str = Field("", description="With A1111's weights, `BREAK` and `<lora:name:weight>`. Must not be empty.")
    negative_prompt: str | None = Field(None, description=_BY_MODEL)
    styles: list[str] = Field([], description="Names from `GET /sdapi/v1/prompt-styles`.", max_length=20)
    seed: int = Field(
        -1,
        description="A negative number draws a random seed; of up to 64 bits, the lowest 53 are used. "
        "The seeds of the images are consecutive.",
    )
    subseed: int = Field(-1, description="The seed of a variation; a negative number draws one.")
    subseed_strength: float = Field(
        0, description="How much of the noise comes from `subseed`, 0 to 1. Above 0, the images of a call have the "
        "same `seed` and consecutive subseeds.",
    )  # fmt: skip
    seed_resize_from_h: int = Field(-1, description=_REFUSED + "0 or less.")
    seed_resize_from_w: int = Field(-1, description=_REFUSED + "0 or less.")
    sampler_name: str | None = Field(None, description="A name or alias from `GET /sdapi/v1/samplers`. " + _BY_MODEL)
    sampler_index: str | None = Field(None, description="The old name of `sampler_name`, which takes precedence.")
    scheduler: str | None = Field(None, description="From `GET /sdapi/v1/schedulers`; `Automatic` if left out.")
    batch_size: int = Field(1, ge=1, le=IMAGES_MAX, description="The number of images in a batch.")
    n_iter: int = Field(
        1, ge=1, le=IMAGES_MAX, description=f"The number of batches; at most {IMAGES_MAX} images in all."
    )
    steps: int | None = Field(None, description=_BY_MODEL)
    cfg_scale: float | None = Field(None, description=_BY_MODEL)
    width: int | None = Field(None, description="Pixels, rounded down to a multiple of 8. " + _BY_MODEL)
    height: int | None = Field(None, description="Pixels, rounded down to a multiple of 8. " + _BY_MODEL)
    denoising_strength: float = Field(0.75, description="The strength of img2img or of the hires fix.")
    restore_faces: bool = Field(False, description=_REFUSED + "false.")
    tiling: bool = Field(False, description=_REFUSED + "false.")
    eta: float | None = Field(
        None, description="0 draws without the sampler's noise, where there is such a sampler; else refused unless 1."
    )
    s_min_uncond: float = Field(0, description=_REFUSED + "0.")
    s_churn: float = Field(0, description=_REFUSED + "0, or the sampler takes none.")
    s_noise: float = Field(1, description=_REFUSED + "1 or 0, or the sampler adds no noise.")
    s_tmin: float = Field(0, description=_NO_EFFECT + "it only matters with `s_churn`, which is refused.")
    s_tmax: float = Field(0, description=_NO_EFFECT + "it only matters with `s_churn`, which is refused.")
    refiner_checkpoint: str | None = Field(None, description="An SDXL model that runs the last steps.")
    refiner_switch_at: float | None = Field(
        None, description="The share of the noise schedule after which the refiner takes over; 0.8 if left out."
    )
    override_settings: dict[str, Any] = Field(
        {}, description="Options for this request only; see `POST /sdapi/v1/options`."
    )
    override_settings_restore_afterwards: bool = Field(
        True, description=_NO_EFFECT + "the stored options never change."
    )
    script_name: str | None = Field(None, description=_REFUSED + "empty.")
    script_args: list[Any] = Field([], description=_NO_EFFECT + "the server runs no scripts.")
    alwayson_scripts: dict[str, Any] = Field(
        {}, description="Only `controlnet`; others are refused unless they are disabled or repeat fields."
    )
    send_images: bool = Field(True, description="Whether the answer contains the images.")
    save_images: bool = Field(False, description=_NO_EFFECT + "the server stores every image.")
    do_not_save_samples: bool = Field(False, description=_NO_EFFECT + "the server stores every image.")
    do_not_save_grid: bool = Field(False, description=_NO_EFFECT + "there are no grids.")
    infotext: str | None = Field(
        None, description="The `parameters` text of an image, which fills in fields that are left out."
    )
    force_task_id: str | None = Field(None, max_length=TASK_ID_MAX_CHARS, description="For `POST /internal/progress`.")

    @model_validator(mode="before")
    @classmethod
    def _with_repeated_fields(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        sent = {name: value for name, value in given.items() if value is not None}
        repeated = repeated_fields(sent.get("alwayson_scripts"))
        if "sampler_index" in sent:
            repeated.pop("sampler_name", None)
        return {**repeated, **sent}

    @model_validator(mode="before")
    @classmethod
    def _with_short_texts(cls, given: Any) -> Any:
        require_short_texts(given, images=("mask", "latent_mask"))
        return given

    @property
    def count(self) -> int:
        """The number of images."""
        return self.batch_size * self.n_iter

    def echo(self) -> dict[str, Any]:
        """The request as the answer repeats it."""
        return self.model_dump()


class SdTxt2ImgBody(SdDrawBody):
    """A1111's StableDiffusionProcessingTxt2Img."""

    task = TXT2IMG

    enable_hr: bool = Field(False, description="The hires fix: enlarge the image and run img2img on it.")
    hr_scale: float = Field(2, description="Above 1, at most 4.")
    hr_upscaler: str | None = Field(
        None, description="From `GET /sdapi/v1/upscalers`; `Lanczos` if left out, and for `Latent`."
    )
    hr_second_pass_steps: int = Field(0, description="0 means as many as in the first pass.")
    hr_resize_x: int = Field(0, ge=0, le=SIDE_MAX_PX, description="Pixels, instead of `hr_scale`; 0 means not given.")
    hr_resize_y: int = Field(0, ge=0, le=SIDE_MAX_PX, description="Pixels, instead of `hr_scale`; 0 means not given.")
    hr_checkpoint_name: str | None = Field(None, description=_REFUSED + "the model of the first pass.")
    hr_sampler_name: str | None = Field(None, description=_REFUSED + "the sampler of the first pass.")
    hr_scheduler: str | None = Field(None, description=_REFUSED + "the scheduler of the first pass.")
    hr_prompt: str = Field("", description=_REFUSED + "empty, or `prompt`.")
    hr_negative_prompt: str = Field("", description=_REFUSED + "empty, or `negative_prompt`.")
    firstphase_width: int = Field(0, description=_REFUSED + "0.")
    firstphase_height: int = Field(0, description=_REFUSED + "0.")


class SdImg2ImgBody(SdDrawBody):
    """A1111's StableDiffusionProcessingImg2Img."""

    task = IMG2IMG

    init_images: list[str] = Field([], max_length=IMAGES_MAX, description="Exactly one image: Base64, or a URL.")
    resize_mode: int = Field(0, description="0 stretch, 1 crop, 2 fill; 3 is drawn as 0.")
    mask: str | None = Field(None, description="The mask, white where the image changes: Base64, or a URL.")
    mask_blur: int | None = Field(None, description="Pixels; 4 if left out.")
    mask_blur_x: int = Field(4, description="Used if `mask_blur` is left out; must equal `mask_blur_y`.")
    mask_blur_y: int = Field(4, description="Used if `mask_blur` is left out; must equal `mask_blur_x`.")
    mask_round: bool = Field(True, description=_REFUSED + "true.")
    inpainting_fill: int = Field(0, ge=0, le=3, description="0 fill, 1 original, 2 latent noise, 3 latent nothing.")
    inpaint_full_res: bool = Field(True, description="Whether to generate only the masked area, at the full size.")
    inpaint_full_res_padding: int = Field(
        0, description="The width in pixels of the border around the masked area that is used too."
    )
    inpainting_mask_invert: int = Field(0, ge=0, le=1, description="1 changes the black part of the mask instead.")
    initial_noise_multiplier: float | None = Field(None, description=_REFUSED + "1.")
    image_cfg_scale: float | None = Field(None, description=_NO_EFFECT + "it is for instruct-pix2pix models.")
    latent_mask: str | None = Field(None, description=_REFUSED + "absent.")
    include_init_images: bool = Field(False, description="Whether `parameters` in the answer contains the images.")

    def echo(self) -> dict[str, Any]:
        """The request without its images, unless ``include_init_images`` is set."""
        hidden = {} if self.include_init_images else {"init_images": None, "mask": None}
        return {**self.model_dump(), **hidden}


class DrawAnswer(BaseModel):
    """A1111's TextToImageResponse and ImageToImageResponse."""

    images: list[str] = Field(description="The images in Base64, without a `data:` prefix.")
    parameters: dict[str, Any] = Field(description="The request, with the model's defaults filled in.")
    info: str = Field(description="JSON: `seed`, `all_seeds`, `infotexts`, `sd_model_name` and more.")


EXAMPLE_IMAGE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII="
"""A PNG file in Base64 with one transparent pixel."""
TXT2IMG_EXAMPLE: dict[str, Any] = {
    "prompt": "a red apple on a table", "negative_prompt": "blurry", "seed": 42, "steps": 20, "cfg_scale": 7,
    "width": 512, "height": 512, "sampler_name": "DPM++ 2M", "scheduler": "Karras",
}  # fmt: skip
IMG2IMG_EXAMPLE: dict[str, Any] = {
    "prompt": "a cat in oil",
    "init_images": [EXAMPLE_IMAGE],
    "denoising_strength": 0.6,
    "steps": 20,
}

"""A1111's bodies of txt2img and img2img: every field that its clients send, with A1111's neutral values."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from models.catalog.families import IMG2IMG, TXT2IMG
from service.api.sdapi.infotext import with_infotext

IMAGES_MAX = 64
"""``batch_size`` times ``n_iter``."""
SIDE_MAX_PX = 65_536
TASK_ID = r"^[!-~]{1,128}$"

_MODELS = "What is left out is the model's own default."
_REFUSED = "Refused unless it is left out or neutral: "
_NO_EFFECT = "Taken, and without effect: "


class SdBody(BaseModel):
    """A body as A1111 reads it: null is the same as absent, numbers may be strings, unknown fields are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, given: Any) -> Any:
        return {name: value for name, value in given.items() if value is not None} if isinstance(given, dict) else given


class SdDrawBody(SdBody):
    """What txt2img and img2img have in common."""

    task: ClassVar[str]

    prompt: str = Field("", description="With A1111's weights, `BREAK` and `<lora:name:weight>`. Must not be empty.")
    negative_prompt: str | None = Field(None, description=_MODELS)
    styles: list[str] = Field([], description="Names from `GET /sdapi/v1/prompt-styles`.", max_length=20)
    seed: int = Field(-1, description="Negative numbers draw a seed. The n-th image has this seed plus n.")
    subseed: int = Field(-1, description=_NO_EFFECT + "it matters with `subseed_strength` alone.")
    subseed_strength: float = Field(0, description=_REFUSED + "0.")
    seed_resize_from_h: int = Field(-1, description=_REFUSED + "0 or less.")
    seed_resize_from_w: int = Field(-1, description=_REFUSED + "0 or less.")
    sampler_name: str | None = Field(None, description="A name or alias from `GET /sdapi/v1/samplers`. " + _MODELS)
    sampler_index: str | None = Field(None, description="The same by its old name; `sampler_name` goes first.")
    scheduler: str | None = Field(None, description="From `GET /sdapi/v1/schedulers`; `Automatic` if left out.")
    batch_size: int = Field(1, ge=1, le=IMAGES_MAX, description="Images in a batch; they are drawn side by side.")
    n_iter: int = Field(1, ge=1, le=IMAGES_MAX, description=f"Batches; at most {IMAGES_MAX} images in all.")
    steps: int | None = Field(None, description=_MODELS)
    cfg_scale: float | None = Field(None, description=_MODELS)
    width: int | None = Field(None, description="Pixels, rounded down to a multiple of 8. " + _MODELS)
    height: int | None = Field(None, description="Pixels, rounded down to a multiple of 8. " + _MODELS)
    denoising_strength: float = Field(0.75, description="How much is drawn over: img2img, or the hires fix.")
    restore_faces: bool = Field(False, description=_REFUSED + "false.")
    tiling: bool = Field(False, description=_REFUSED + "false.")
    eta: float | None = Field(None, description="Refused unless it is the sampler's own: 1, or 0 if it draws no noise.")
    s_min_uncond: float = Field(0, description=_REFUSED + "0.")
    s_churn: float = Field(0, description=_REFUSED + "0.")
    s_noise: float = Field(1, description=_REFUSED + "1 or 0.")
    s_tmin: float = Field(0, description=_NO_EFFECT + "it matters with `s_churn` alone.")
    s_tmax: float = Field(0, description=_NO_EFFECT + "it matters with `s_churn` alone.")
    refiner_checkpoint: str | None = Field(None, description="An SDXL model that draws the last steps.")
    refiner_switch_at: float | None = Field(None, description="The share of the noise taken away before; 0.8.")
    override_settings: dict[str, Any] = Field({}, description="Options for this call alone: see `POST options`.")
    override_settings_restore_afterwards: bool = Field(True, description=_NO_EFFECT + "nothing is ever overridden.")
    script_name: str | None = Field(None, description=_REFUSED + "empty.")
    script_args: list[Any] = Field([], description=_NO_EFFECT + "there are no scripts.")
    alwayson_scripts: dict[str, Any] = Field({}, description="`controlnet`; others are refused unless they are off.")
    send_images: bool = Field(True, description="Whether the answer holds the images.")
    save_images: bool = Field(False, description=_NO_EFFECT + "the server keeps every image.")
    do_not_save_samples: bool = Field(False, description=_NO_EFFECT + "the server keeps every image.")
    do_not_save_grid: bool = Field(False, description=_NO_EFFECT + "there are no grids.")
    infotext: str | None = Field(None, description="An image's `parameters`, for all fields that are left out.")
    force_task_id: str | None = Field(None, pattern=TASK_ID, description="For `POST /internal/progress`.")

    @model_validator(mode="before")
    @classmethod
    def _with_infotext(cls, given: Any) -> Any:
        text = given.get("infotext") if isinstance(given, dict) else None
        return with_infotext(given, text) if isinstance(text, str) else given

    @property
    def count(self) -> int:
        """How many images are asked for."""
        return self.batch_size * self.n_iter

    def echo(self) -> dict[str, Any]:
        """The request as A1111 gives it back."""
        return self.model_dump()


class SdTxt2ImgBody(SdDrawBody):
    """A1111's StableDiffusionProcessingTxt2Img."""

    task = TXT2IMG

    enable_hr: bool = Field(False, description="The hires fix: enlarge the image and draw over it once more.")
    hr_scale: float = Field(2, description="Above 1, at most 4.")
    hr_upscaler: str | None = Field(None, description="From `GET /sdapi/v1/upscalers`; `Lanczos` if left out.")
    hr_second_pass_steps: int = Field(0, description="0 is as many as in the first pass.")
    hr_resize_x: int = Field(0, ge=0, le=SIDE_MAX_PX, description="Pixels, instead of `hr_scale`; 0 leaves it open.")
    hr_resize_y: int = Field(0, ge=0, le=SIDE_MAX_PX, description="Pixels, instead of `hr_scale`; 0 leaves it open.")
    hr_checkpoint_name: str | None = Field(None, description=_REFUSED + "the same model.")
    hr_sampler_name: str | None = Field(None, description=_REFUSED + "the same sampler.")
    hr_scheduler: str | None = Field(None, description=_REFUSED + "the same scheduler.")
    hr_prompt: str = Field("", description=_REFUSED + "empty, or the same prompt.")
    hr_negative_prompt: str = Field("", description=_REFUSED + "empty, or the same negative prompt.")
    firstphase_width: int = Field(0, description=_REFUSED + "0.")
    firstphase_height: int = Field(0, description=_REFUSED + "0.")


class SdImg2ImgBody(SdDrawBody):
    """A1111's StableDiffusionProcessingImg2Img."""

    task = IMG2IMG

    init_images: list[str] = Field([], max_length=IMAGES_MAX, description="One image: Base64, or a URL.")
    resize_mode: int = Field(0, description="0 stretches the image, 1 crops it, 2 fills up; 3 is refused.")
    mask: str | None = Field(None, description="Light where the image is drawn anew: Base64, or a URL.")
    mask_blur: int | None = Field(None, description="Pixels; 4 if left out.")
    mask_blur_x: int = Field(4, description="Where `mask_blur` is left out; must equal `mask_blur_y`.")
    mask_blur_y: int = Field(4, description="Where `mask_blur` is left out; must equal `mask_blur_x`.")
    mask_round: bool = Field(True, description=_REFUSED + "true.")
    inpainting_fill: int = Field(0, ge=0, le=3, description="0 fill, 1 original, 2 latent noise, 3 latent nothing.")
    inpaint_full_res: bool = Field(True, description="Draw only the masked area, at the full size.")
    inpaint_full_res_padding: int = Field(0, description="Pixels of surroundings that are seen.")
    inpainting_mask_invert: int = Field(0, ge=0, le=1, description="1 draws where the mask is dark.")
    initial_noise_multiplier: float | None = Field(None, description=_REFUSED + "1.")
    image_cfg_scale: float | None = Field(None, description=_NO_EFFECT + "it is for instruct-pix2pix models.")
    latent_mask: str | None = Field(None, description=_REFUSED + "absent.")
    include_init_images: bool = Field(False, description="Give the images back in `parameters`.")

    def echo(self) -> dict[str, Any]:
        """The same without the images, unless they were asked for."""
        hidden = {} if self.include_init_images else {"init_images": None, "mask": None}
        return {**self.model_dump(), **hidden}


EXAMPLE_IMAGE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII="
"""One transparent pixel, as PNG in Base64."""
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

"""The native wire's bodies: what clients send to have a job done, one shape for each kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel
from pydantic.json_schema import SkipJsonSchema

from models.catalog.families import IMG2IMG, INPAINT, TXT2IMG
from models.jobs.params import (
    FACE_RESTORE,
    FACE_SWAP,
    UPSCALE,
    DrawRequest,
    FaceRestoreRequest,
    FaceSwapRequest,
    Request,
    UpscaleRequest,
)
from models.jobs.payload import build

SOURCE = (
    "An image: an `https://` or `http://` URL, Base64 (bare or as a `data:` URL), `input:<sha256>` from "
    "`POST /v1/inputs`, or `image:<id>` of an image that was drawn here."
)


PRIORITY = "-2 to 2; each step up is four times the share of the device."


class _Body(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class LoraBody(_Body):
    """A LoRA."""

    name: str = Field(description="A name or alias from `GET /v1/loras`.")
    weight: float | None = Field(None, description="-10 to 10; 1 if it is left out.")


class MaskBody(_Body):
    """Which part of an image is drawn anew."""

    image: str = Field(description=SOURCE + " It is drawn anew where the mask is light.")
    blur_px: int | None = Field(None, description="0 to 256: how far the mask's edge is softened; 4 if left out.")
    fill: str | None = Field(
        None,
        description="What the area starts from: `original` (if left out), `fill`, `latent_noise`, `latent_nothing`.",
    )
    invert: bool | None = Field(None, description="Draw anew where the mask is dark.")
    only_masked: bool | None = Field(None, description="Draw only the area, at the full size, and put it back.")
    padding_px: int | None = Field(None, description="0 to 256: surroundings seen with `only_masked`; 32 if left out.")


class ControlBody(_Body):
    """A ControlNet."""

    model: str = Field(description="A name or alias from `GET /v1/controlnets`.")
    image: str | None = Field(None, description=SOURCE + " If it is left out, the image that the job starts from.")
    preprocessor: str | None = Field(None, description="A name from `GET /v1/preprocessors`; `none` if left out.")
    threshold_a: float | None = Field(None, description="What it means is listed with the preprocessor.")
    threshold_b: float | None = Field(None, description="What it means is listed with the preprocessor.")
    weight: float | None = Field(None, description="0 to 2; 1 if left out.")
    start: float | None = Field(None, description="The share of the steps after which it begins; 0 if left out.")
    end: float | None = Field(None, description="The share of the steps after which it stops; 1 if left out.")
    mode: str | None = Field(None, description="`balanced` (if left out), `prompt` or `control`.")
    resize_mode: str | None = Field(None, description="`crop` (if left out), `stretch` or `fill`.")


class SecondPassBody(_Body):
    """Enlarge the image when it is drawn, and draw over it once more."""

    scale: float | None = Field(None, description="Above 1, at most 4, and twice the model's `max_px`; 2 if left out.")
    upscaler: str | None = Field(None, description="A name from `GET /v1/upscalers`; `Lanczos` if left out.")
    priority: int | None = Field(None, description=PRIORITY)
    strength: float | None = Field(None, description="Above 0, at most 1; 0.5 if left out.")
    num_inference_steps: int | None = Field(None, description="As many as in the first pass if left out.")


class RefinerBody(_Body):
    """A second SDXL model that draws the last steps."""

    model: str = Field(description="A name or alias from `GET /v1/models`.")
    start: float | None = Field(None, description="The share of the noise taken away before; 0.8 if left out.")


class Txt2ImgBody(_Body):
    """What an image is drawn from; a choice that is left out, or null, is the model's own default."""

    prompt: str = Field(description="1 to 10000 characters, not only spaces; `<lora:name:weight>` is understood.")
    negative_prompt: str | None = Field(None, description="What must not be in the image.")
    model: str | None = Field(None, description="A name or alias from `GET /v1/models`.")
    sampler: str | None = Field(None, description="A name from `GET /v1/samplers`.")
    num_inference_steps: int | None = Field(None, description="1 to the model's `max_steps`.")
    guidance_scale: float | None = Field(None, description="0 to 50; 1 or less draws without guidance.")
    seed: int | None = Field(None, description="0 to 2^53 - 1; -1, like none, draws a seed.")
    width: int | None = Field(None, description="Pixels: a multiple of 8 within the model's limits.")
    height: int | None = Field(None, description="Pixels: a multiple of 8 within the model's limits.")
    aspect_ratio: str | None = Field(
        None, description="Instead of width and height: `16:9`, `portrait`, ..., at the model's usual area."
    )
    style_preset: str | None = Field(None, description="A name from `GET /v1/styles`.")
    clip_skip: int | None = Field(None, description="1 to 12, by A1111's count: 2 skips the text encoder's last layer.")
    loras: list[LoraBody] | None = Field(None, description="At most 8, those in the prompt included.")
    controls: list[ControlBody] | None = Field(None, description="At most 4.")
    second_pass: SecondPassBody | None = Field(None, description="A1111's hires fix.")
    refiner: RefinerBody | None = None
    reuse_interval: int | None = Field(
        None, description="1 to 10: deep features are computed anew at each so-many-th step; 1 is always, and exact."
    )
    priority: int | None = Field(None, description=PRIORITY)
    enhance_prompt: bool | None = Field(
        None, description="Have the language model enrich the prompt; as `/v1/preferences` has it if left out."
    )
    enhance_negative_prompt: bool | None = Field(
        None, description="Have it write a negative prompt too, if there is none; as preferred if left out."
    )
    # For kinds further down; here so that effective parameters can be posted again, and misuse is told clearly.
    image: SkipJsonSchema[str | None] = None
    strength: SkipJsonSchema[float | None] = None
    resize_mode: SkipJsonSchema[str | None] = None
    mask: SkipJsonSchema[MaskBody | None] = None


class Img2ImgBody(Txt2ImgBody):
    """The same, and the image to start from."""

    image: str = Field(description=SOURCE)
    strength: float | None = Field(
        None, description="Above 0, at most 1: how much of the image is drawn over. 0.75 if left out, 1 for inpaint."
    )
    resize_mode: str | None = Field(
        None, description="How it comes to width x height: `crop` (if left out), `stretch` or `fill`."
    )


class InpaintBody(Img2ImgBody):
    """The same, and the part of the image that is drawn anew."""

    mask: MaskBody


class UpscaleBody(_Body):
    """An image to enlarge."""

    image: str = Field(description=SOURCE)
    scale: int | None = Field(None, description="2 (if left out) or 4.")
    upscaler: str | None = Field(None, description="A name from `GET /v1/upscalers`; `Lanczos` if left out.")


class FaceRestoreBody(_Body):
    """An image whose faces are restored."""

    image: str = Field(description=SOURCE)
    priority: int | None = Field(None, description=PRIORITY)


class FaceSwapBody(_Body):
    """Two images; refused, with the reason, by every Photogram."""

    source: str = Field(description=SOURCE + " Its face is taken.")
    target: str = Field(description=SOURCE + " Its face is replaced.")


class _Job(_Body):
    noun: ClassVar[type[Request]] = DrawRequest
    kind: str
    params: BaseModel

    def to_request(self) -> Request:
        """The same as the noun that every dialect is translated into."""
        return build(self.noun, {"kind": self.kind, **self.params.model_dump(exclude_none=True)})


class Txt2ImgJob(_Job):
    """Draw an image from words."""

    kind: Literal["txt2img"]
    params: Txt2ImgBody


class Img2ImgJob(_Job):
    """Draw over an image."""

    kind: Literal["img2img"]
    params: Img2ImgBody


class InpaintJob(_Job):
    """Draw a part of an image anew."""

    kind: Literal["inpaint"]
    params: InpaintBody


class UpscaleJob(_Job):
    """Enlarge an image."""

    noun = UpscaleRequest
    kind: Literal["upscale"]
    params: UpscaleBody


class FaceRestoreJob(_Job):
    """Restore the faces in an image."""

    noun = FaceRestoreRequest
    kind: Literal["face_restore"]
    params: FaceRestoreBody


class FaceSwapJob(_Job):
    """Put the face of one image into another."""

    noun = FaceSwapRequest
    kind: Literal["face_swap"]
    params: FaceSwapBody


AnyJob = Txt2ImgJob | Img2ImgJob | InpaintJob | UpscaleJob | FaceRestoreJob | FaceSwapJob


class JobBody(RootModel[Annotated[AnyJob, Field(discriminator="kind")]]):
    """A job to be done."""


_IMAGE, _MASK = "https://example.org/cat.png", "https://example.org/mask.png"
_PARAMS_EXAMPLES: Mapping[str, dict[str, Any]] = {
    TXT2IMG: {"prompt": "a red apple on a table", "num_inference_steps": 20, "seed": 42, "width": 512, "height": 512},
    IMG2IMG: {"prompt": "a cat in oil", "image": _IMAGE, "strength": 0.6},
    INPAINT: {"prompt": "a hat", "image": _IMAGE, "mask": {"image": _MASK, "blur_px": 8}},
    UPSCALE: {"image": _IMAGE, "scale": 2, "upscaler": "Lanczos"},
    FACE_RESTORE: {"image": _IMAGE},
    FACE_SWAP: {"source": "https://example.org/face.png", "target": _IMAGE},
}
JOB_BODY_EXAMPLES: Mapping[str, dict[str, Any]] = {
    kind: {"kind": kind, "params": params} for kind, params in _PARAMS_EXAMPLES.items()
}
"""One body of each kind."""

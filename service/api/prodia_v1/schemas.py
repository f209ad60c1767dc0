"""The bodies of Prodia's API v1, and a job as it shows it.

``null`` is the same as absent, numbers may be strings, and unknown keys are ignored.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from service.api.validation import require_short_texts

DEFAULT_STRENGTH = 0.7
"""The strength of img2img and inpainting if the request has none: Prodia's example for ``denoising_strength``."""


def _no_boolean(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("must be a number")
    return value


Whole = Annotated[int | None, BeforeValidator(_no_boolean)]
"""A whole number; it may come as a string, or as a float without a fraction."""
Number = Annotated[float | None, BeforeValidator(_no_boolean)]
"""Any number; it may come as a string."""

_Side = Annotated[
    Whole, Field(None, description="Pixels, rounded down to a size that the model supports.", examples=[512])
]
_Url = Annotated[str | None, Field(None, description="The URL of the image.")]
_Data = Annotated[str | None, Field(None, description="The image in Base64, bare or as a `data:` URL.")]


class ProdiaBody(BaseModel):
    """The base of all bodies."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _without_empty_texts(cls, body: Any) -> Any:
        """``body`` without fields whose text is empty: forms and shells send these for what is left open."""
        if not isinstance(body, dict):
            return body
        return {name: value for name, value in body.items() if name in _TEXTS or not _is_blank(value)}

    @model_validator(mode="before")
    @classmethod
    def _with_short_texts(cls, given: Any) -> Any:
        require_short_texts(given, images=("imageData", "maskData", "imageUrl", "maskUrl"))
        return given


_TEXTS = ("prompt", "negative_prompt")
"""Fields for which an empty text is a value."""


def _is_blank(value: object) -> bool:
    return isinstance(value, str) and not value.strip()


class ProdiaGenerateBody(ProdiaBody):
    """Prodia's GenerateRequest and SDXLGenerateRequest."""

    prompt: str = Field(examples=["puppies in a cloud, 4k"])
    model: str | None = Field(None, description="An unknown name means the default model.")
    negative_prompt: str | None = None
    style_preset: str | None = Field(None, examples=["anime"])
    steps: Whole = Field(None, examples=[20])
    cfg_scale: Number = Field(None, examples=[7])
    seed: Whole = Field(None, description="A negative number draws a random seed.", examples=[-1])
    upscale: bool | None = Field(None, description="Whether to enlarge the image by 2 and run img2img on it.")
    sampler: str | None = Field(None, examples=["DPM++ 2M Karras"])
    width: _Side
    height: _Side
    aspect_ratio: Literal["square", "portrait", "landscape"] | None = Field(
        None, description="512x512, 512x768 or 768x512; `width` and `height` take precedence."
    )


class ProdiaTransformBody(ProdiaGenerateBody):
    """Prodia's TransformRequest and SDXLTransformRequest."""

    imageUrl: _Url
    imageData: _Data
    denoising_strength: Number = Field(
        None, description=f"{DEFAULT_STRENGTH} if left out.", examples=[DEFAULT_STRENGTH]
    )


class ProdiaInpaintingBody(ProdiaTransformBody):
    """Prodia's InpaintingRequest and SDXLInpaintingRequest."""

    maskUrl: _Url
    maskData: _Data
    mask_blur: Whole = Field(None, description="Pixels; 4 if left out.", examples=[4])
    inpainting_fill: Whole = Field(
        None, ge=0, le=3, description="0 fill, 1 original, 2 latent noise, 3 latent nothing; 1 if left out."
    )
    inpainting_mask_invert: bool | None = Field(
        None, description="0 generates the masked area anew, 1 everything outside of it."
    )
    inpainting_full_res: bool | None = Field(
        None, description="Whether to generate only the masked area, at the full size."
    )


class ProdiaControlNetBody(ProdiaGenerateBody):
    """Prodia's ControlNetRequest."""

    imageUrl: _Url
    imageData: _Data
    controlnet_model: str = Field(examples=["control_v11p_sd15_canny [d14c016b]"])
    controlnet_module: str | None = Field(None, examples=["canny"])
    control_mode: Whole = Field(
        None, ge=0, le=2, validation_alias=AliasChoices("control_mode", "controlnet_mode"),
        description="0 balanced, 1 the prompt is more important, 2 the ControlNet is more important; 0 if left out. "
        "`controlnet_mode` is another name for it.",
    )  # fmt: skip
    threshold_a: Number = Field(
        None, description="Ignored if the module has no such threshold; likewise `threshold_b`."
    )
    threshold_b: Number = None
    resize_mode: Whole = Field(None, ge=0, le=2, description="0 stretch, 1 crop, 2 fill; 1 if left out.")


class ProdiaUpscaleBody(ProdiaBody):
    """Prodia's UpscaleRequest."""

    imageUrl: _Url
    imageData: _Data
    resize: Number = Field(None, description="A factor from 0.1 to 8; Prodia has 2 and 4. 2 if left out.", examples=[2])
    model: str | None = Field(
        None, description="If left out, `ESRGAN_4x`, or `Lanczos` if the server has no weights of `ESRGAN_4x`."
    )


class ProdiaFaceRestoreBody(ProdiaBody):
    """Prodia's FaceRestoreRequest."""

    imageUrl: _Url
    imageData: _Data


class ProdiaFaceSwapBody(ProdiaBody):
    """Prodia's FaceSwapRequest; it is always refused, with the reason."""

    sourceUrl: str | None = Field(None, examples=["https://example.com/image.png"])
    targetUrl: str | None = Field(None, examples=["https://example.com/image.png"])


class ProdiaPhotoMakerBody(ProdiaBody):
    """Prodia's PhotoMakerRequest; it is always refused, with the reason."""

    imageUrls: list[str] | None = None
    imageData: list[str] | None = None
    prompt: str | None = Field(None, examples=["man img wearing a hat"])


class ProdiaJob(BaseModel):
    """Prodia's Job."""

    job: str = Field(examples=["0b7c2f0e-6f0e-4b43-9a55-3f6a3e1f7a11"])
    status: Literal["queued", "generating", "succeeded", "failed"]
    params: dict[str, Any] | None = Field(
        None, description="The effective parameters under A1111's names; absent in the answer to a new job."
    )
    imageUrl: str | None = Field(None, description="The link to the image, once the job has succeeded.")


OPENAPI_MODELS: tuple[type[BaseModel], ...] = (
    ProdiaGenerateBody,
    ProdiaTransformBody,
    ProdiaInpaintingBody,
    ProdiaControlNetBody,
    ProdiaUpscaleBody,
    ProdiaFaceSwapBody,
    ProdiaFaceRestoreBody,
    ProdiaPhotoMakerBody,
)
"""Models for the OpenAPI document that routes parse without FastAPI."""

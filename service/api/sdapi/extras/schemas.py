"""A1111's bodies and answers of routes that process images without a prompt."""

from __future__ import annotations

from pydantic import BaseModel, Field

from service.api.sdapi.schemas import SdBody

BATCH_MAX = 32


class ExtrasBody(SdBody):
    """The parameters of the processing, under A1111's names."""

    resize_mode: int = Field(
        0, ge=0, le=1, description="0 enlarges by the factor `upscaling_resize`, 1 to a size in pixels."
    )
    show_extras_results: bool = True
    gfpgan_visibility: float = Field(
        0, description="1 restores faces and needs a call without an upscaler; 0 does not; others are refused."
    )
    codeformer_visibility: float = Field(0, description="Refused unless it is 0.")
    codeformer_weight: float = 0
    upscaling_resize: float = Field(2.0, description="The factor, 0.1 to 8.")
    upscaling_resize_w: int = Field(512, ge=1, description="Pixels.")
    upscaling_resize_h: int = Field(512, ge=1, description="Pixels.")
    upscaling_crop: bool = Field(
        True, description="Whether resize_mode 1 cuts off what exceeds the size; the aspect ratio is always kept."
    )
    upscaler_1: str = Field("None", description="A name from `GET /sdapi/v1/upscalers`.")
    upscaler_2: str = Field("None", description="Refused if `extras_upscaler_2_visibility` is not 0.")
    extras_upscaler_2_visibility: float = Field(0, description="Refused unless it is 0.")
    upscale_first: bool = Field(False, description="Accepted without effect: a call does only one of the two.")


class SingleBody(ExtrasBody):
    """An image and the parameters of its processing."""

    image: str = Field(description="Base64, or a URL.")


class FileData(SdBody):
    """An image of a batch."""

    data: str = Field(description="Base64, or a URL.")
    name: str = ""


class BatchBody(ExtrasBody):
    """Several images and the parameters of their processing."""

    imageList: list[FileData] = Field(min_length=1, max_length=BATCH_MAX)


class SingleAnswer(BaseModel):
    """A processed image."""

    html_info: str
    image: str = Field(description="Base64, without a `data:` prefix.")


class BatchAnswer(BaseModel):
    """Processed images."""

    html_info: str
    images: list[str] = Field(description="Base64, without a `data:` prefix.")


class PngInfoBody(SdBody):
    """An image to read."""

    image: str = Field(description="PNG, JPEG, WebP or GIF in Base64.")


class PngInfo(BaseModel):
    """The metadata of an image."""

    info: str = Field(description="The `parameters` text in A1111's format; empty if there is none.")
    items: dict[str, str] = Field(description="The other texts in the image.")
    parameters: dict[str, str] = Field(description="The settings in the text, by name.")

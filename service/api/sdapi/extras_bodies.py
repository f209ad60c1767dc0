"""A1111's bodies and answers for images that are worked on without a prompt."""

from __future__ import annotations

from pydantic import BaseModel, Field

from service.api.sdapi.fields import SdBody

BATCH_MAX = 32


class ExtrasBody(SdBody):
    """What is done with an image, in A1111's words."""

    resize_mode: int = Field(0, ge=0, le=1, description="0 enlarges by `upscaling_resize`, 1 to a size in pixels.")
    show_extras_results: bool = True
    gfpgan_visibility: float = Field(0, description="1 restores faces, alone; 0 does not; others are refused.")
    codeformer_visibility: float = Field(0, description="Refused unless it is 0.")
    codeformer_weight: float = 0
    upscaling_resize: float = Field(2.0, description="2 or 4.")
    upscaling_resize_w: int = Field(512, description="Pixels: 2 or 4 times the image's.")
    upscaling_resize_h: int = Field(512, description="Pixels: 2 or 4 times the image's.")
    upscaling_crop: bool = Field(True, description="Without effect: the sides keep their proportion.")
    upscaler_1: str = Field("None", description="A name from `GET /sdapi/v1/upscalers`.")
    upscaler_2: str = Field("None", description="Refused if it is visible.")
    extras_upscaler_2_visibility: float = Field(0, description="Refused unless it is 0.")
    upscale_first: bool = Field(False, description="Without effect: only one thing is done at a time.")


class SingleBody(ExtrasBody):
    """One image, and what is done with it."""

    image: str = Field(description="Base64, or a URL.")


class FileData(SdBody):
    """One image of several."""

    data: str = Field(description="Base64, or a URL.")
    name: str = ""


class BatchBody(ExtrasBody):
    """Several images, and what is done with each."""

    imageList: list[FileData] = Field(min_length=1, max_length=BATCH_MAX)


class SingleAnswer(BaseModel):
    """An image that was worked on."""

    html_info: str
    image: str = Field(description="In Base64, without a `data:` prefix.")


class BatchAnswer(BaseModel):
    """Images that were worked on."""

    html_info: str
    images: list[str] = Field(description="In Base64, without a `data:` prefix.")


class PngInfoBody(SdBody):
    """An image to read."""

    image: str = Field(description="PNG, JPEG, WebP or GIF in Base64.")


class PngInfo(BaseModel):
    """What an image says of how it was made."""

    info: str = Field(description="The text that A1111 writes; empty if there is none.")
    items: dict[str, str] = Field(description="The image's other texts.")
    parameters: dict[str, str] = Field(description="The text's settings by name.")

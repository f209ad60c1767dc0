"""The images in forms: stored as inputs, and what is transparent in them turned into a mask as we have it."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import Any

from PIL import ExifTags, Image, ImageOps

from models.errors import UnreadableImage
from models.media.images import FORMATS
from models.media.png import read_request
from service.api.openai.errors import OpenAiError
from service.api.state import Gateway
from service.jobs.errors import ImageRefused

_TURNED = (5, 6, 7, 8)
"""EXIF's orientations in which width and height change places."""


@dataclass(frozen=True)
class Images:
    """What an edit or a variation starts from."""

    image: str
    """The source that jobs name it by; so is ``mask``, which is light where the image is drawn anew."""
    mask: str | None
    size: tuple[int, int]
    """Width and height in pixels of ``image`` once it is upright."""
    prompt: str | None
    """The words that the image was drawn from, if it was drawn here."""


def take_in(gateway: Gateway, image: bytes, mask: bytes | None = None) -> Images:
    """Check and keep the images; blocking.

    Args:
        mask: an image with an alpha channel. ``None`` takes the alpha channel of ``image``, if something in it is
            fully transparent.

    Raises:
        OpenAiError: one cannot be used.
    """
    source = _stored(gateway, image, "image")
    size = upright_size(image)
    found = holes(image, "image") if mask is None else _explicit_holes(gateway, mask, size)
    return Images(
        image=source,
        mask=None if found is None else _stored(gateway, found, "mask"),
        size=size,
        prompt=_recorded_prompt(image),
    )


def _stored(gateway: Gateway, data: bytes, param: str) -> str:
    try:
        return gateway.jobs.store_image(data).source
    except ImageRefused as error:
        raise OpenAiError(f"{param}: {error}", param=param) from error


def upright_size(data: bytes) -> tuple[int, int]:
    """Width and height in pixels of the readable image in ``data``, turned as its EXIF says, without decoding it."""
    with Image.open(BytesIO(data), formats=FORMATS) as image:
        width, height = image.size
        return (height, width) if image.getexif().get(ExifTags.Base.Orientation) in _TURNED else (width, height)


def _explicit_holes(gateway: Gateway, mask: bytes, size: tuple[int, int]) -> bytes:
    _stored(gateway, mask, "mask")
    if upright_size(mask) != size:
        raise OpenAiError(f"mask: must be as large as the image, {size[0]} x {size[1]} pixels", param="mask")
    found = holes(mask, "mask")
    if found is None:
        raise OpenAiError("mask: nothing in it is fully transparent, which is where is drawn anew", param="mask")
    return found


def holes(data: bytes, param: str) -> bytes | None:
    """A PNG file that is light where the image is fully transparent; ``None`` if it is nowhere."""
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as image:
            if not image.has_transparency_data:
                return None
            alpha = ImageOps.exif_transpose(image).convert("RGBA").getchannel("A")
    except Exception as error:  # Pillow's readers raise whatever damaged bytes lead them to
        raise OpenAiError(f"{param}: the image cannot be read: {error}", param=param) from error
    if alpha.getextrema()[0] != 0:
        return None
    buffer = BytesIO()
    alpha.point(lambda level: 255 * (level == 0)).save(buffer, "PNG")
    return buffer.getvalue()


def _recorded_prompt(data: bytes) -> str | None:
    try:
        request = read_request(data) or {}
    except UnreadableImage:  # no PNG file
        return None
    params: Any = request.get("params")
    prompt = params.get("prompt") if isinstance(params, dict) else None
    return prompt if isinstance(prompt, str) and prompt.strip() else None

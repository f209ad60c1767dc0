"""Conversion of finished images, which are stored as PNG, to other formats."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from types import MappingProxyType
from typing import Any

from PIL import Image

from models.media.iptc import packet, source_type
from models.media.png import PARAMETERS_CHUNK
from service.api.errors import ApiError, ErrorCode

QUALITY = 95
"""The default quality of JPEG and WebP, 1 to 100."""
_EXIF_IFD, _USER_COMMENT = 0x8769, 0x9286
_UNICODE = b"UNICODE\0"
"""The EXIF marker of a comment in UTF-16."""
_COMMENT_MAX_BYTES = 60_000
"""A JPEG segment, which holds the EXIF data, has at most 64 KiB; a longer comment is left out."""


@dataclass(frozen=True)
class ImageFormat:
    """An image format; ``name`` is its name in Pillow."""

    name: str
    media_type: str
    extension: str
    max_px: int
    """The largest width and height of an image."""


PNG = ImageFormat("PNG", "image/png", "png", 2**31 - 1)
JPEG = ImageFormat("JPEG", "image/jpeg", "jpg", 65_500)
WEBP = ImageFormat("WEBP", "image/webp", "webp", 16_383)
IMAGE_FORMATS: Mapping[str, ImageFormat] = MappingProxyType({each.media_type: each for each in (PNG, JPEG, WEBP)})
"""By media type."""


def convert(png: bytes, target: ImageFormat, *, quality: int = QUALITY, is_progressive: bool = False) -> bytes:
    """The stored PNG file ``png`` as a file of the format ``target``; PNG is returned unchanged. Blocking.

    JPEG and WebP carry the ``parameters`` text in the EXIF field UserComment, as A1111 writes it, and IPTC's digital
    source type. They carry no C2PA manifest: ``service.api.conversions`` signs them.

    Args:
        quality: of JPEG and WebP, 1 to 100.
        is_progressive: whether to write a progressive JPEG.

    Raises:
        ApiError: the image is larger than files of this format can be.
    """
    if target is PNG:
        return png
    options: dict[str, Any] = {"progressive": True} if target is JPEG and is_progressive else {}
    buffer = BytesIO()
    with Image.open(BytesIO(png), formats=["PNG"]) as image:
        if max(image.size) > target.max_px:
            raise _too_large(image.size, target)
        kind = source_type(image)
        if kind is not None:
            options["xmp"] = packet(kind).encode()
        exif = _comment(image.info.get(PARAMETERS_CHUNK))
        rgb = image if image.mode == "RGB" else image.convert("RGB")
        rgb.save(buffer, target.name, quality=quality, exif=exif, **options)
    return buffer.getvalue()


def _too_large(size: tuple[int, int], target: ImageFormat) -> ApiError:
    width, height = size
    detail = (
        f"the image has {width} x {height} pixels, and a {target.name} file at most {target.max_px} in each direction; "
        "it can be had as PNG"
    )
    return ApiError(ErrorCode.INVALID_PARAMS, detail)


def _comment(text: str | None) -> Image.Exif:
    exif, comment = Image.Exif(), (text or "").encode("utf-16-be")
    if 0 < len(comment) <= _COMMENT_MAX_BYTES:
        exif.get_ifd(_EXIF_IFD)[_USER_COMMENT] = _UNICODE + comment
    return exif

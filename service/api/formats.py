"""Finished images in other formats than the PNG that they are stored as."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from types import MappingProxyType
from typing import Any

from PIL import Image

from models.media.png import PARAMETERS_CHUNK

QUALITY = 95
"""Of JPEG and WebP, where the request does not say otherwise; 1 to 100."""
_EXIF_IFD, _USER_COMMENT = 0x8769, 0x9286
_UNICODE = b"UNICODE\0"
"""How EXIF marks a comment in UTF-16."""
_COMMENT_MAX_BYTES = 60_000
"""JPEG's segment for EXIF has 64 KiB; a longer comment is left out."""


@dataclass(frozen=True)
class ImageFormat:
    """A format, by its name in Pillow."""

    name: str
    media_type: str
    extension: str


PNG = ImageFormat("PNG", "image/png", "png")
JPEG = ImageFormat("JPEG", "image/jpeg", "jpg")
WEBP = ImageFormat("WEBP", "image/webp", "webp")
IMAGE_FORMATS: Mapping[str, ImageFormat] = MappingProxyType({each.media_type: each for each in (PNG, JPEG, WEBP)})
"""By media type."""


def convert(png: bytes, wanted: ImageFormat, *, quality: int = QUALITY, is_progressive: bool = False) -> bytes:
    """The stored image ``png`` as a file of the format ``wanted``; as PNG, it stays as it is.

    JPEG and WebP carry A1111's ``parameters`` as EXIF's UserComment, as A1111 itself writes them. Blocking.

    Args:
        quality: 1 to 100; of JPEG and WebP.
        is_progressive: of JPEG: the whole image comes first coarsely, then finer.
    """
    if wanted is PNG:
        return png
    options: dict[str, Any] = {"progressive": True} if wanted is JPEG and is_progressive else {}
    buffer = BytesIO()
    with Image.open(BytesIO(png), formats=["PNG"]) as image:
        exif = _comment(image.info.get(PARAMETERS_CHUNK))
        image.convert("RGB").save(buffer, wanted.name, quality=quality, exif=exif, **options)
    return buffer.getvalue()


def _comment(text: str | None) -> Image.Exif:
    exif, comment = Image.Exif(), (text or "").encode("utf-16-be")
    if 0 < len(comment) <= _COMMENT_MAX_BYTES:
        exif.get_ifd(_EXIF_IFD)[_USER_COMMENT] = _UNICODE + comment
    return exif

"""The EXIF data of an image, without decoding its pixels."""

from __future__ import annotations

import struct

from PIL import Image

_SIGNATURE_BYTES = 8
_HEAD = struct.Struct(">I4s")
_CRC_BYTES = 4


def header_exif(image: Image.Image, data: bytes) -> Image.Exif:
    """The EXIF data of ``image``, which was opened from ``data``.

    Pillow decodes a whole PNG to look for EXIF data after its pixels; here, its chunks are searched for them.
    """
    if image.format == "PNG" and "exif" not in image.info:
        image.info["exif"] = _png_exif(data)
    return image.getexif()


def _png_exif(data: bytes) -> bytes | None:
    place = _SIGNATURE_BYTES
    while place + _HEAD.size <= len(data):
        length, name = _HEAD.unpack_from(data, place)
        place += _HEAD.size
        if name == b"eXIf":
            return b"Exif\x00\x00" + data[place : place + length]
        place += length + _CRC_BYTES
    return None

"""The EXIF data of an image, without decoding its pixels."""

from __future__ import annotations

from PIL import Image

from models.media.png_chunks import chunks


def header_exif(image: Image.Image, data: bytes) -> Image.Exif:
    """The EXIF data of ``image``, which was opened from ``data``.

    Pillow decodes a whole PNG to look for EXIF data after its pixels; here, its chunks are searched for them.
    """
    if image.format == "PNG" and "exif" not in image.info:
        image.info["exif"] = _png_exif(data)
    return image.getexif()


def _png_exif(data: bytes) -> bytes | None:
    return next((b"Exif\x00\x00" + bytes(chunk.content) for chunk in chunks(data, (b"eXIf",))), None)

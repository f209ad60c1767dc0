"""The EXIF data of an image, read without decoding its pixels, and its orientation."""

from __future__ import annotations

from PIL import Image, ImageOps

from models.media.png_chunks import chunks


def header_exif(image: Image.Image, data: bytes) -> Image.Exif:
    """The EXIF data of ``image``, which was opened from ``data``.

    Pillow decodes a whole PNG to look for EXIF data after its pixels; here, its chunks are searched for them. Data that
    cannot be read are none.
    """
    if image.format == "PNG" and "exif" not in image.info:
        image.info["exif"] = _png_exif(data)
    try:
        return image.getexif()
    except Exception:  # damaged data can make Pillow raise many kinds of exception
        return Image.Exif()


def turn_upright(image: Image.Image) -> None:
    """Rotate ``image`` by its EXIF orientation; data that cannot be read say nothing."""
    image.load()
    try:
        image.getexif()
    except Exception:  # as above
        return
    ImageOps.exif_transpose(image, in_place=True)


def _png_exif(data: bytes) -> bytes | None:
    return next((b"Exif\x00\x00" + bytes(chunk.content) for chunk in chunks(data, (b"eXIf",))), None)

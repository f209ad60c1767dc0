"""Cutting the middle out of a PNG file."""

from __future__ import annotations

from io import BytesIO

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from models.media.png import write_text


def cropped(png: bytes, size: tuple[int, int]) -> bytes:
    """The middle of the PNG file at ``size`` (width, height) in pixels, with its texts. Blocking."""
    with Image.open(BytesIO(png), formats=["PNG"]) as image:
        left, top = ((have - want) // 2 for have, want in zip(image.size, size, strict=True))
        middle = image.crop((left, top, left + size[0], top + size[1]))
        texts, buffer = PngInfo(), BytesIO()
        for name, text in image.info.items():
            if isinstance(name, str) and isinstance(text, str):
                write_text(texts, name, text)
        middle.save(buffer, "PNG", pnginfo=texts)
    return buffer.getvalue()

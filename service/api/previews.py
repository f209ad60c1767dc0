"""The last preview of an image that is not finished, as the job's events have it."""

from __future__ import annotations

import base64
from io import BytesIO

from PIL import Image


def enlarged(data_url: str, size: tuple[int, int]) -> Image.Image:
    """The preview in ``data_url``, a PNG file, resized to ``size`` (width, height) in pixels, as RGB. Blocking."""
    with Image.open(BytesIO(base64.b64decode(data_url.partition(",")[2])), formats=["PNG"]) as preview:
        return preview.convert("RGB").resize(size, Image.Resampling.BICUBIC)

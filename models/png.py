"""Pictures as PNG files that carry how they were made: A1111's ``parameters`` text and our own JSON chunk."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from models.a1111 import a1111_parameters
from models.errors import UnreadablePicture
from models.params import Params

PARAMETERS_CHUNK = "parameters"
JSON_CHUNK = "photogram"


def encode(picture: Image.Image, kind: str, params: Params) -> bytes:
    """``picture`` as a PNG file with both text chunks.

    The JSON leaves out what says nothing about the picture: what is null, and the priority.
    """
    info = PngInfo()
    text = a1111_parameters(kind, params)
    # tEXt is Latin-1 only; iTXt is what A1111 itself writes for other scripts.
    write = info.add_text if text.isascii() else info.add_itxt
    write(PARAMETERS_CHUNK, text)
    info.add_text(JSON_CHUNK, json.dumps({"kind": kind, "params": repeatable(params)}))
    buffer = BytesIO()
    picture.save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def repeatable(params: Params) -> dict[str, Any]:
    """``params`` as a request that gives the same picture again."""
    return {name: value for name, value in params.to_payload().items() if value is not None and name != "priority"}


def read_request(data: bytes) -> dict[str, Any] | None:
    """The ``{"kind", "params"}`` of a picture made here, ready to be posted again; ``None`` if it is not ours.

    Raises:
        UnreadablePicture: ``data`` is no PNG file, or our chunk in it is damaged.
    """
    try:
        with Image.open(BytesIO(data), formats=["PNG"]) as picture:
            chunk = picture.info.get(JSON_CHUNK)
        request = None if chunk is None else json.loads(chunk)
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow and json raise for damaged files
        raise UnreadablePicture(f"the picture cannot be read: {error}") from error
    if request is not None and not isinstance(request, dict):
        raise UnreadablePicture("the picture's own parameters are no JSON object")
    return request

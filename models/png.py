"""Pictures as PNG files that carry how they were drawn: A1111's ``parameters`` text and our own JSON chunk."""

from __future__ import annotations

import json
from collections.abc import Mapping
from io import BytesIO
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from models.errors import UnreadablePicture
from models.params import TXT2IMG, Txt2ImgParams

PARAMETERS_CHUNK = "parameters"
JSON_CHUNK = "photogram"


def encode(picture: Image.Image, params: Txt2ImgParams) -> bytes:
    """``picture`` as a PNG file with both text chunks."""
    info = PngInfo()
    # tEXt is Latin-1 only; iTXt is what A1111 itself writes for other scripts.
    write = info.add_text if a1111_parameters(params).isascii() else info.add_itxt
    write(PARAMETERS_CHUNK, a1111_parameters(params))
    info.add_text(JSON_CHUNK, json.dumps({"kind": TXT2IMG, "params": params.to_payload()}))
    buffer = BytesIO()
    picture.save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def a1111_parameters(params: Txt2ImgParams) -> str:
    """The settings as A1111 writes them, which galleries and old clients parse."""
    lines = [params.prompt]
    if params.negative_prompt:
        lines.append(f"Negative prompt: {params.negative_prompt}")
    settings: Mapping[str, object] = {
        "Steps": params.num_inference_steps,
        "Sampler": params.sampler,
        "CFG scale": f"{params.guidance_scale:g}",
        "Seed": params.seed,
        "Size": f"{params.width}x{params.height}",
        "Model": params.model,
        "Version": "Photogram",
    }
    lines.append(", ".join(f"{name}: {value}" for name, value in settings.items()))
    return "\n".join(lines)


def read_request(data: bytes) -> dict[str, Any] | None:
    """The ``{"kind", "params"}`` of a picture drawn here, ready to be posted again; ``None`` if it is not ours.

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

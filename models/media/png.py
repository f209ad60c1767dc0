"""Metadata of generated images: A1111's ``parameters`` text in any format, and our JSON chunk in PNG."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from models.errors import UnreadableImage
from models.jobs.params import JobParams
from models.jobs.sources import shown_params
from models.media.images import FORMATS, measure
from models.media.infotext import a1111_parameters

PARAMETERS_CHUNK = "parameters"
JSON_CHUNK = "photogram"
ORIGINAL_CHUNK = "original_prompt"
"""The user's prompt, if it was rewritten."""

_EXIF_IFD, _USER_COMMENT = 0x8769, 0x9286
_CODE_BYTES = 8
"""The length of the name of the character code at the start of EXIF's user comment, padded with zeros."""


def encode(image: Image.Image, kind: str, params: JobParams, original_prompt: str | None = None) -> bytes:
    """``image`` as a PNG file with text chunks: its parameters for A1111 and for Photogram, and the original prompt.

    The JSON leaves out what does not affect the image: null values and the priority.

    Args:
        params: the effective parameters, with the rewritten prompt if there is one.
        original_prompt: the user's prompt, if it was rewritten.
    """
    info = PngInfo()
    _write(info, PARAMETERS_CHUNK, a1111_parameters(kind, params))
    info.add_text(JSON_CHUNK, json.dumps({"kind": kind, "params": repeatable(shown_params(params))}))
    if original_prompt is not None:
        _write(info, ORIGINAL_CHUNK, original_prompt)
    buffer = BytesIO()
    image.save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def _write(info: PngInfo, name: str, text: str) -> None:
    # tEXt is limited to Latin-1; A1111 writes iTXt for other characters.
    write = info.add_text if text.isascii() else info.add_itxt
    write(name, text)


def repeatable(params: JobParams) -> dict[str, Any]:
    """``params`` as the parameters of a request that gives the same image again."""
    return {name: value for name, value in params.to_payload().items() if value is not None and name != "priority"}


def read_request(data: bytes) -> dict[str, Any] | None:
    """The ``{"kind", "params"}`` in a PNG of Photogram, ready to be posted again; ``None`` if there are none.

    Raises:
        UnreadableImage: ``data`` is not a PNG file, or our chunk in it is damaged.
    """
    try:
        with Image.open(BytesIO(data), formats=["PNG"]) as image:
            chunk = image.info.get(JSON_CHUNK)
        request = None if chunk is None else json.loads(chunk)
    except (OSError, SyntaxError, ValueError) as error:  # raised by Pillow and json for damaged files
        raise UnreadableImage(f"the image cannot be read: {error}") from error
    if request is not None and not isinstance(request, dict):
        raise UnreadableImage(f"the chunk {JSON_CHUNK!r} of the image is not a JSON object")
    return request


def read_texts(data: bytes) -> tuple[str, dict[str, str]]:
    """A1111's ``parameters`` text in an image, empty if there is none, and the other texts by name.

    A PNG has this text in the chunk ``parameters``, JPEG and WebP in EXIF's ``UserComment``, GIF in its comment. Text
    chunks after the pixels of a PNG are not read.

    Raises:
        UnreadableImage: ``data`` is not an image, or is damaged.
    """
    measure(data)
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as image:
            texts = {name: value for name, value in image.info.items() if isinstance(value, str)}
            comment = _comment(image)
    except Exception as error:  # damaged bytes can make Pillow raise anything
        raise UnreadableImage(f"the image cannot be read: {error}") from error
    return texts.pop(PARAMETERS_CHUNK, comment), {str(name): value for name, value in texts.items()}


def _comment(image: Image.Image) -> str:
    comment = image.getexif().get_ifd(_EXIF_IFD).get(_USER_COMMENT, image.info.get("comment", b""))
    if isinstance(comment, str):
        return comment
    code, text = comment[:_CODE_BYTES], comment[_CODE_BYTES:]
    if code.startswith(b"UNICODE"):
        # UTF-16 without a byte order mark: the upper bytes of most texts are zero, which shows the order.
        is_little = text[1::2].count(0) > text[::2].count(0)
        return str(text.decode("utf-16-le" if is_little else "utf-16-be", "replace"))
    return str((text if code.startswith(b"ASCII") else comment).decode("utf-8", "replace"))

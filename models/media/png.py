"""Images that carry how they were made: A1111's ``parameters`` text in any format, our own JSON chunk in PNG."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from models.errors import UnreadableImage
from models.jobs.params import JobParams
from models.media.images import FORMATS, measure
from models.media.infotext import a1111_parameters

PARAMETERS_CHUNK = "parameters"
JSON_CHUNK = "photogram"
ORIGINAL_CHUNK = "original_prompt"
"""What the user wrote, where the prompt that was drawn is another."""

_EXIF_IFD, _USER_COMMENT = 0x8769, 0x9286
_CODE_BYTES = 8
"""EXIF's user comment begins with the name of its character code, filled up with zeros."""


def encode(image: Image.Image, kind: str, params: JobParams, original_prompt: str | None = None) -> bytes:
    """``image`` as a PNG file with its texts: how it was drawn, for A1111 and for us, and what the user wrote.

    The JSON leaves out what says nothing about the image: what is null, and the priority.

    Args:
        params: as they were drawn.
        original_prompt: if the prompt was rewritten.
    """
    info = PngInfo()
    _write(info, PARAMETERS_CHUNK, a1111_parameters(kind, params))
    info.add_text(JSON_CHUNK, json.dumps({"kind": kind, "params": repeatable(params)}))
    if original_prompt is not None:
        _write(info, ORIGINAL_CHUNK, original_prompt)
    buffer = BytesIO()
    image.save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def _write(info: PngInfo, name: str, text: str) -> None:
    # tEXt is Latin-1 only; iTXt is what A1111 itself writes for other scripts.
    write = info.add_text if text.isascii() else info.add_itxt
    write(name, text)


def repeatable(params: JobParams) -> dict[str, Any]:
    """``params`` as a request that gives the same image again."""
    return {name: value for name, value in params.to_payload().items() if value is not None and name != "priority"}


def read_request(data: bytes) -> dict[str, Any] | None:
    """The ``{"kind", "params"}`` of an image made here, ready to be posted again; ``None`` if it is not ours.

    Raises:
        UnreadableImage: ``data`` is no PNG file, or our chunk in it is damaged.
    """
    try:
        with Image.open(BytesIO(data), formats=["PNG"]) as image:
            chunk = image.info.get(JSON_CHUNK)
        request = None if chunk is None else json.loads(chunk)
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow and json raise for damaged files
        raise UnreadableImage(f"the image cannot be read: {error}") from error
    if request is not None and not isinstance(request, dict):
        raise UnreadableImage("the image's own parameters are no JSON object")
    return request


def read_texts(data: bytes) -> tuple[str, dict[str, str]]:
    """What an image says of how it was made, as A1111 writes it, and the other texts in it, by name.

    PNG has it in the chunk ``parameters``, JPEG and WebP in EXIF's ``UserComment``, GIF in its comment. Texts that a
    PNG has behind its pixels are not looked for.

    Raises:
        UnreadableImage: ``data`` is no image, or damaged.
    """
    measure(data)
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as image:
            texts = {name: value for name, value in image.info.items() if isinstance(value, str)}
            comment = _comment(image)
    except Exception as error:  # Pillow's readers raise whatever damaged bytes lead them to
        raise UnreadableImage(f"the image cannot be read: {error}") from error
    return texts.pop(PARAMETERS_CHUNK, comment), {str(name): value for name, value in texts.items()}


def _comment(image: Image.Image) -> str:
    comment = image.getexif().get_ifd(_EXIF_IFD).get(_USER_COMMENT, image.info.get("comment", b""))
    if isinstance(comment, str):
        return comment
    code, text = comment[:_CODE_BYTES], comment[_CODE_BYTES:]
    if code.startswith(b"UNICODE"):
        # UTF-16 in either byte order, and no mark that says in which; most text has zeros in the upper bytes.
        is_little = text[1::2].count(0) > text[::2].count(0)
        return str(text.decode("utf-16-le" if is_little else "utf-16-be", "replace"))
    return str((text if code.startswith(b"ASCII") else comment).decode("utf-8", "replace"))

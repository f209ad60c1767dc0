"""Metadata of generated images: A1111's ``parameters`` text in any format, and our JSON chunk in PNG."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import BytesIO
from typing import TYPE_CHECKING, Any

from PIL import Image, PngImagePlugin
from PIL.PngImagePlugin import PngInfo

from models.errors import DAMAGED, UnreadableImage
from models.jobs.params import FULL, NONE, JobParams
from models.jobs.sources import shown_params
from models.media import iptc
from models.media.foreign import foreign_infotext
from models.media.images import FORMATS, measure
from models.media.infotext import a1111_parameters
from models.media.texts import merged, read_all

PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY = 8 << 20
"""How many bytes of text Pillow unpacks from one PNG before it refuses the file. Its own limits are 64 MiB for all
texts and 1 MiB for each, which workflows of ComfyUI exceed."""

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

PARAMETERS_CHUNK = "parameters"
JSON_CHUNK = "photogram"
_WITHOUT_EFFECT = ("priority", "metadata", "provenance")
"""Parameters that do not affect what the image shows."""
ORIGINAL_CHUNK = "original_prompt"
"""The user's prompt, if it was rewritten."""


class _CheckedBuffer(BytesIO):
    """A buffer that calls ``check`` before each write; Pillow writes a PNG file in pieces of at least 64 KiB."""

    def __init__(self, check: Callable[[], None]) -> None:
        super().__init__()
        self._check = check

    def write(self, data: ReadableBuffer, /) -> int:
        self._check()
        return super().write(data)


def encode(
    image: Image.Image,
    kind: str,
    params: JobParams,
    original_prompt: str | None = None,
    *,
    source_type: str | None = None,
    check: Callable[[], None] = lambda: None,
) -> bytes:
    """``image`` as a PNG file with text chunks: its parameters for A1111 and for Photogram, and the original prompt.

    The JSON leaves out what does not affect the image, such as null values and the priority. What another file said of
    itself is never written.

    Args:
        params: the effective parameters, with the rewritten prompt if there is one.
        original_prompt: the user's prompt, if it was rewritten.
        source_type: IPTC's digital source type, for a chunk with XMP data.
        check: called again and again meanwhile; what it raises ends the encoding.
    """
    info = PngInfo()
    if params.metadata != NONE:
        write_text(info, PARAMETERS_CHUNK, a1111_parameters(kind, params))
        info.add_text(JSON_CHUNK, json.dumps({"kind": kind, "params": repeatable(shown_params(params))}))
    if params.metadata == FULL and original_prompt is not None:
        write_text(info, ORIGINAL_CHUNK, original_prompt)
    if source_type is not None:
        info.add_itxt(iptc.PNG_CHUNK, iptc.packet(source_type))
    buffer = _CheckedBuffer(check)
    _without_info(image).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def _without_info(image: Image.Image) -> Image.Image:
    """``image`` without what Pillow read beside the pixels of the file that it came from, such as EXIF."""
    if not image.info:
        return image
    plain = image.copy()
    plain.info = {}
    return plain


def write_text(info: PngInfo, name: str, text: str) -> None:
    """Add a text chunk to those of a PNG file."""
    # tEXt is limited to Latin-1; A1111 writes iTXt for other characters.
    write = info.add_text if text.isascii() else info.add_itxt
    write(name, text)


def repeatable(params: JobParams) -> dict[str, Any]:
    """``params`` as the parameters of a request that gives the same image again."""
    given = params.to_payload().items()
    return {name: value for name, value in given if value is not None and name not in _WITHOUT_EFFECT}


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
        raise UnreadableImage(DAMAGED) from error
    if request is not None and not isinstance(request, dict):
        raise UnreadableImage(f"the chunk {JSON_CHUNK!r} of the image is not a JSON object")
    return request


def read_texts(data: bytes) -> tuple[str, dict[str, str]]:
    """A1111's ``parameters`` text in an image, empty if there is none, and the other texts by name.

    A PNG has this text in the chunk ``parameters``, JPEG and WebP in EXIF's ``UserComment``, GIF in its comment. For
    ComfyUI, InvokeAI, Fooocus, Civitai's generator and NovelAI it is made of what they write, which stays among the
    other texts. The texts have at most :data:`models.media.texts.TEXTS_MAX_BYTES` together.

    Raises:
        UnreadableImage: ``data`` is not an image, or is damaged.
    """
    measure(data)
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as image:
            texts = read_all(data, image)
    except Exception as error:  # damaged bytes can make Pillow raise anything
        raise UnreadableImage(DAMAGED) from error
    made = foreign_infotext(texts)
    if made is not None:
        return made, texts
    info = merged(texts)
    return info, {name: text for name, text in texts.items() if text != info}

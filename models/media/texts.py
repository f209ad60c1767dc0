"""The texts in image files: chunks of PNG, EXIF, XMP and comments. What a small file can unfold to is bounded."""

from __future__ import annotations

import html
import re
import zlib
from collections.abc import Iterator, Mapping

from PIL import Image

from models.media.header_exif import header_exif
from models.media.iptc import PNG_CHUNK
from models.media.png_chunks import SIGNATURE, chunks

TEXTS_MAX_BYTES = 4 << 20
"""All texts of one image, unpacked; a text beyond it is left out, because half a JSON document says nothing."""
_UNPACKED_MAX_BYTES = 1 << 20
"""How many more bytes the texts of an image may have than its file: compressed zeros shrink a thousandfold."""
_TEXTS_MAX = 64

_PNG_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_EXIF_IFD, _USER_COMMENT = 0x8769, 0x9286
_CODE_BYTES = 8
"""The length of the name of the character code at the start of EXIF's user comment, padded with zeros."""
_EXIF_NAMES = {0x010E: "ImageDescription", 0x010F: "Make", 0x0110: "Model", 0x0131: "Software", 0x9C9C: "XPComment"}
_COMFYUI = re.compile(r"(workflow|prompt):\s*(?=\{)", re.IGNORECASE)
"""ComfyUI writes its documents into the EXIF fields of the camera's make and model."""
_XMP_TEXT = re.compile(
    r"<(?:exif:UserComment|dc:description|photoshop:Instructions)\b[^>]*+>(?:\s*+<rdf:Alt>\s*+<rdf:li\b[^>]*+>)?+([^<]++)"
)


def read_all(data: bytes, image: Image.Image) -> dict[str, str]:
    """The texts in ``data``, which is opened as ``image``, by name; the EXIF user comment is ``UserComment``."""
    found: dict[str, str] = {}
    left = _allowed_bytes(data)
    for name, text in _all(data, image):
        if text and name not in found and len(found) < _TEXTS_MAX and len(text) + len(name) <= left:
            found[name] = text
            left -= len(text) + len(name)
    return found


def _allowed_bytes(data: bytes) -> int:
    return min(TEXTS_MAX_BYTES, len(data) + _UNPACKED_MAX_BYTES)


def _all(data: bytes, image: Image.Image) -> Iterator[tuple[str, str]]:
    if data.startswith(SIGNATURE):
        yield from _png_texts(data)
    else:
        yield from ((str(name), text) for name, text in image.info.items() if isinstance(text, str))
        comment = image.info.get("comment", b"")
        yield "comment", _decoded(comment) if isinstance(comment, bytes) else str(comment)
    yield from _exif_texts(header_exif(image, data))
    xmp = image.info.get("xmp", b"")
    for text in _XMP_TEXT.findall(_decoded(xmp) if isinstance(xmp, bytes) else str(xmp)):
        yield "xmp", html.unescape(text.strip())


def _exif_texts(exif: Image.Exif) -> Iterator[tuple[str, str]]:
    comment = exif.get_ifd(_EXIF_IFD).get(_USER_COMMENT, b"")
    yield "UserComment", comment if isinstance(comment, str) else decode_comment(comment)
    for tag, name in _EXIF_NAMES.items():
        value = exif.get(tag, b"")
        text = value.decode("utf-16-le", "replace") if name == "XPComment" and isinstance(value, bytes) else value
        text = (_decoded(text) if isinstance(text, bytes) else str(text)).strip("\0")
        document = _COMFYUI.match(text)
        yield (document[1].lower(), text[document.end() :]) if document else (name, text)


def decode_comment(comment: bytes) -> str:
    """EXIF's user comment: the name of a character code, and the text in it; some programs leave out the name."""
    if not isinstance(comment, bytes):
        return ""
    code, text = comment[:_CODE_BYTES], comment[_CODE_BYTES:]
    if code.startswith(b"UNICODE"):
        return _utf16(text)
    if code.startswith((b"ASCII", b"\0\0\0\0\0\0\0\0")):
        return _decoded(text)
    return _decoded(comment)


def _utf16(text: bytes) -> str:
    """UTF-16 with or without a byte order mark, or UTF-8 that is named UTF-16."""
    if text.startswith((b"\xff\xfe", b"\xfe\xff")):
        return text.decode("utf-16", "replace").strip("\0")
    if 0 not in text and (as_utf8 := _strict_utf8(text)) is not None:
        return as_utf8
    # The upper bytes of most texts are zero, which shows the order.
    is_little = text[1::2].count(0) > text[::2].count(0)
    return text.decode("utf-16-le" if is_little else "utf-16-be", "replace").strip("\0")


def _strict_utf8(text: bytes) -> str | None:
    try:
        return text.decode()
    except UnicodeDecodeError:
        return None


def _decoded(text: bytes) -> str:
    if text.startswith((b"\xff\xfe", b"\xfe\xff")):
        return text.decode("utf-16", "replace").strip("\0")
    return text.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace").strip("\0")


def _png_texts(data: bytes) -> Iterator[tuple[str, str]]:
    """The text chunks of a PNG, before and after its pixels."""
    left = _allowed_bytes(data)
    for chunk in chunks(data, _PNG_TEXTS):
        name, _, rest = bytes(chunk.content).partition(b"\0")
        if name == PNG_CHUNK.encode():  # of XMP, only the texts in it are read, as in other formats
            continue
        text = _chunk_text(chunk.name, rest, left)
        if text is None:
            continue
        left -= len(text)
        is_latin = chunk.name != b"iTXt" and _strict_utf8(text) is None
        yield name.decode("latin-1", "replace"), text.decode("latin-1" if is_latin else "utf-8", "replace")


def _chunk_text(kind: bytes, rest: bytes, limit: int) -> bytes | None:
    """The bytes of the text; ``None`` if they are damaged or more than ``limit``."""
    if kind == b"tEXt":
        return rest if len(rest) <= limit else None
    if kind == b"zTXt":
        return _inflated(rest[1:], limit)
    is_packed, language = rest[:1] == b"\1", rest[2:]
    text = language.partition(b"\0")[2].partition(b"\0")[2]
    return _inflated(text, limit) if is_packed else text if len(text) <= limit else None


def _inflated(packed: bytes, limit: int) -> bytes | None:
    inflater = zlib.decompressobj()
    try:
        text = inflater.decompress(packed, limit + 1)
    except zlib.error:
        return None
    return text if len(text) <= limit else None


def merged(texts: Mapping[str, str]) -> str:
    """A1111's text among ``texts``: the chunk ``parameters``, EXIF's user comment, or a plain comment."""
    names = ("parameters", "UserComment", "comment", "xmp", "ImageDescription", "XPComment")
    return next((texts[name] for name in names if texts.get(name)), "")

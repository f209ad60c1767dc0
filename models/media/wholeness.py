"""Image files that lack their end: which of them are read as far as they go, and which are refused.

Viewers show a JPEG or PNG file whose last bytes are missing, so callers have such files without knowing it. Whether a
file is whole is told from its structure, without decoding pixels, so that the gateway can refuse it at submission.
"""

from __future__ import annotations

import struct
import zlib

from PIL import Image

from models.errors import DAMAGED, UnreadableImage
from models.media.png_chunks import SIGNATURE, chunks

MENDED_MAX_BYTES = 1 << 26
"""The most bytes of decompressed rows that a damaged PNG file may have; each damaged file is decompressed to count
its rows."""

_JPEG, _END_OF_JPEG = b"\xff\xd8\xff", b"\xff\xd9"
_IHDR = struct.Struct(">IIBBBBB")
"""The content of a PNG file's first chunk: width, height, depth, colour type, compression, filter, interlace."""
_HEADER = SIGNATURE + struct.pack(">I4s", _IHDR.size, b"IHDR")
"""How a PNG file begins, up to that content."""
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""The channels of each PNG colour type."""
_END_BYTES = 1 << 16
"""How much of a PNG file is searched for its last chunk; other programs append bytes to images."""
_INCOMPLETE = "the image is incomplete: its end is missing"


def mended(data: bytes) -> bytes:
    """``data``, with an end if it is a JPEG or PNG file that lacks it.

    Missing pixels of a JPEG file become grey, missing rows of a PNG file zeros; half of these rows must be there.

    Raises:
        UnreadableImage: most of the image is missing.
    """
    if data.startswith(_JPEG) and not data.endswith(_END_OF_JPEG):
        return data + _END_OF_JPEG  # decoders ignore it behind a real end, and fill missing pixels with grey otherwise
    if data.startswith(SIGNATURE) and b"IEND" not in data[-_END_BYTES:]:
        return _mended_png(data)
    return data


def _mended_png(data: bytes) -> bytes:
    """The file with the rows that are there, the others zeros; without the metadata behind the pixels."""
    if not data.startswith(_HEADER) or len(data) < len(_HEADER) + _IHDR.size:
        raise UnreadableImage(_INCOMPLETE)
    width, height, depth, colour, _, _, interlace = _IHDR.unpack_from(data, len(_HEADER))
    row_bytes = 1 + (width * depth * _CHANNELS.get(colour, 0) + 7) // 8
    if interlace or height * row_bytes > MENDED_MAX_BYTES:
        raise UnreadableImage(_INCOMPLETE)
    packed, before = bytearray(), []
    for chunk in chunks(data):
        if chunk.name == b"IDAT":
            packed += chunk.content
        elif chunk.is_whole and chunk.name != b"IEND":
            before.append(_png_chunk(chunk.name, bytes(chunk.content)))
    rows = _inflated(packed, height * row_bytes)
    if 2 * len(rows) < height * row_bytes:
        raise UnreadableImage(_INCOMPLETE)
    pixels = zlib.compress(rows.ljust(height * row_bytes, b"\0"), 1)
    return b"".join((SIGNATURE, *before, _png_chunk(b"IDAT", pixels), _png_chunk(b"IEND", b"")))


def _png_chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def _inflated(compressed: bytearray, max_bytes: int) -> bytes:
    """What can be decompressed, at most ``max_bytes``."""
    try:
        return zlib.decompressobj().decompress(compressed, max_bytes)
    except zlib.error as error:
        raise UnreadableImage(DAMAGED) from error


def require_whole(image: Image.Image, data: bytes) -> None:
    """Refuse a file whose structure names bytes behind its end.

    Args:
        image: the opened image; its pixels need not be loaded.
        data: the file.

    Raises:
        UnreadableImage: the end of the file is missing.
    """
    if _needed_bytes(image, data) > len(data):
        raise UnreadableImage(_INCOMPLETE)


def _needed_bytes(image: Image.Image, data: bytes) -> int:
    """How many bytes the file must have, as far as its structure tells."""
    match image.format:
        case "WEBP":
            return int.from_bytes(data[4:8], "little") + 8
        case "GIF":
            return _gif_bytes(image, data)
        case "AVIF":
            return _box_bytes(data)
        case "JPEG2000":
            return _box_bytes(data) if data[4:8] == b"jP  " else 0
        case "TIFF":
            return _tiff_bytes(image)
        case "BMP" | "PPM":
            return _raw_bytes(image)
    return 0


def _gif_bytes(image: Image.Image, data: bytes) -> int:
    """The end of the first frame: its pixels are blocks, each after its length, up to a block of length 0."""
    place = image.tile[0][2] if image.tile else 0  # type: ignore[attr-defined]
    while place < len(data) and data[place]:
        place += data[place] + 1
    return int(place) + 1


def _box_bytes(data: bytes) -> int:
    """The end of the last box at the top level of an ISO base media file or a JP2 file."""
    place = 0
    while place + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, place)
        if length == 1:
            (length,) = struct.unpack_from(">Q", data.ljust(place + 16, b"\0"), place + 8)
        if length < 8:  # 0 extends to the end of the file
            return 0
        place += length
    return place if place > len(data) else 0


def _tiff_bytes(image: Image.Image) -> int:
    """The end of the last strip or tile."""
    tags = image.tag_v2  # type: ignore[attr-defined]
    for offsets, counts in ((273, 279), (324, 325)):
        if offsets in tags and counts in tags:
            return max(a + b for a, b in zip(_numbers(tags[offsets]), _numbers(tags[counts]), strict=False))
    return 0


def _numbers(value: int | tuple[int, ...]) -> tuple[int, ...]:
    return value if isinstance(value, tuple) else (value,)


def _raw_bytes(image: Image.Image) -> int:
    """The end of pixels that are not compressed."""
    return max((_raw_tile_bytes(tile, image) for tile in image.tile), default=0)  # type: ignore[attr-defined]


def _raw_tile_bytes(tile: tuple[str, tuple[int, int, int, int], int, object], image: Image.Image) -> int:
    name, (_, top, _, bottom), offset, args = tile
    if name != "raw":
        return 0
    stride = args[1] if isinstance(args, tuple) and len(args) > 1 and isinstance(args[1], int) else 0
    return offset + (bottom - top) * (stride or _row_bytes(image))


def _row_bytes(image: Image.Image) -> int:
    """The bytes of one row without padding."""
    bits = {"1": 1, "I;16": 16, "I": 16, "F": 32}.get(image.mode, 8 * len(image.getbands()))
    return (image.width * bits + 7) // 8

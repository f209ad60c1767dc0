"""Writes arrays of pixels as PNG files, so that numpy and Pillow are not needed for it."""

import struct
import zlib
from typing import Protocol, runtime_checkable

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
"""The colour type of a PNG file by the number of channels: grey, grey and alpha, RGB, RGBA."""


@runtime_checkable
class Array(Protocol):
    """An array as numpy has them."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> object: ...

    def tobytes(self) -> bytes: ...


def png_of(array: Array) -> bytes:
    """The PNG file of an array of uint8, height x width, or height x width x channels (1 to 4).

    Raises ValueError for other arrays. Source: the PNG specification, https://www.w3.org/TR/png-3/.
    """
    height, width, channels = _sizes(array)
    pixels, stride = array.tobytes(), width * channels
    rows = b"".join(b"\x00" + pixels[start : start + stride] for start in range(0, height * stride, stride))
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPES[channels], 0, 0, 0)
    return _SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")


def _sizes(array: Array) -> tuple[int, int, int]:
    shape = tuple(array.shape)
    if str(array.dtype) != "uint8" or len(shape) not in (2, 3) or 0 in shape or (*shape, 1)[2] not in _COLOUR_TYPES:
        raise ValueError(
            "an array must be of uint8 and have the shape (height, width) or (height, width, 1 to 4), "
            f"got {array.dtype} and {shape}"
        )
    return shape[0], shape[1], (*shape, 1)[2]


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

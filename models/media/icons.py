"""Checks the images inside an ICO file before Pillow opens it, since Pillow decodes an icon as soon as it is opened."""

from __future__ import annotations

import struct

from models.errors import UnreadableImage
from models.media.png_chunks import SIGNATURE

ICON_MAX_PX = 1024
"""The largest width and height of an icon; the format itself ends at 256."""

_MAGIC = b"\0\0\1\0"
_ENTRIES_MAX = 256


def check_icon(data: bytes) -> None:
    """Refuse an ICO file with an image that is larger than an icon is.

    Raises:
        UnreadableImage: the list of images is damaged, or an image in it is larger than ``ICON_MAX_PX``.
    """
    if not data.startswith(_MAGIC):
        return
    (count,) = struct.unpack_from("<H", data.ljust(6, b"\0"), 4)
    if not 1 <= count <= _ENTRIES_MAX or len(data) < 6 + 16 * count:
        raise UnreadableImage("the icon cannot be read: its list of images is damaged")
    for index in range(count):
        size, offset = struct.unpack_from("<II", data, 6 + 16 * index + 8)
        if offset + size > len(data):
            raise UnreadableImage("the icon is incomplete: its end is missing")
        if max(_sides(data[offset : offset + 24])) > ICON_MAX_PX:
            raise UnreadableImage(f"the icon is larger than {ICON_MAX_PX} x {ICON_MAX_PX} pixels")


def _sides(header: bytes) -> tuple[int, int]:
    """Width and height in pixels of the PNG or bitmap that begins with ``header``; a bitmap is twice as high."""
    if header.startswith(SIGNATURE):
        width, height = struct.unpack(">II", header.ljust(24, b"\0")[16:24])
        return width, height
    width, height = struct.unpack("<ii", header.ljust(12, b"\0")[4:12])
    return abs(width), abs(height) // 2

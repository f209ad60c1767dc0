"""Several images on one canvas, in rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from models.media.fitting import Size

Box = tuple[int, int, int, int]
"""Left, top, right and bottom in pixels."""


def cells(sizes: Sequence[Size], canvas: Size) -> Iterator[Box]:
    """A place on ``canvas`` for each image, in the order of reading; together they cover all of it.

    There are as many columns as suit the images' mean aspect ratio best. If the last row has fewer images, they are
    wider.

    Args:
        sizes: width and height in pixels of each image; at least one.
        canvas: width and height in pixels; at least as many of each as there are images.
    """
    count, (width, height) = len(sizes), canvas
    columns = _columns(sizes, width / height)
    rows = [range(first, min(first + columns, count)) for first in range(0, count, columns)]
    for number, row in enumerate(rows):
        top, bottom = (height * edge // len(rows) for edge in (number, number + 1))
        for place in range(len(row)):
            left, right = (width * edge // len(row) for edge in (place, place + 1))
            yield left, top, right, bottom


def _columns(sizes: Sequence[Size], canvas_aspect: float) -> int:
    wanted = sum(math.log(width / height) for width, height in sizes) / len(sizes)

    def mismatch(columns: int) -> float:
        rows = math.ceil(len(sizes) / columns)
        return abs(math.log(canvas_aspect * rows / columns) - wanted)

    return min(range(1, len(sizes) + 1), key=mismatch)

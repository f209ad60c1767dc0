"""Bringing an image to another size, in one of the modes of ``RESIZE_MODES``."""

from __future__ import annotations

from PIL import Image, ImageOps

from models.errors import DrawingFailed

Size = tuple[int, int]


def fit(image: Image.Image, size: Size, mode: str) -> Image.Image:
    """Resize ``image`` to ``size``.

    "stretch" changes the aspect ratio, "crop" cuts off edges, and "fill" keeps the whole image and extends its edges.

    Raises:
        DrawingFailed: ``mode`` is none of the three.
    """
    match mode:
        case "stretch":
            return image.resize(size, Image.Resampling.LANCZOS)
        case "crop":
            return ImageOps.fit(image, size, Image.Resampling.LANCZOS)
        case "fill":
            return _with_extended_edges(ImageOps.contain(image, size, Image.Resampling.LANCZOS), size)
        case _:
            raise DrawingFailed(f"resize_mode {mode!r} is unknown; the modes are stretch, crop and fill")


def _with_extended_edges(image: Image.Image, size: Size) -> Image.Image:
    """``image`` in the middle of ``size``; its outermost rows and columns are repeated up to the borders."""
    left, top = ((whole - part) // 2 for whole, part in zip(size, image.size, strict=True))
    right, bottom = left + image.width, top + image.height
    wide = Image.new(image.mode, size)
    strips = {
        (0, top, left, bottom): (0, 0, 1, image.height),
        (right, top, size[0], bottom): (image.width - 1, 0, image.width, image.height),
        (left, 0, right, top): (0, 0, image.width, 1),
        (left, bottom, right, size[1]): (0, image.height - 1, image.width, image.height),
    }
    for place, edge in strips.items():
        width, height = place[2] - place[0], place[3] - place[1]
        if width and height:
            wide.paste(image.resize((width, height), Image.Resampling.NEAREST, box=edge), place)
    wide.paste(image, (left, top))
    return wide


def resized(image: Image.Image, size: Size) -> Image.Image:
    """``image`` resized to ``size``; the same object if it has this size already."""
    return image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)

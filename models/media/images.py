"""Decodes images from outside the server: accepted formats, largest size, transparency and orientation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from models.errors import UnreadableImage

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
"""The accepted formats, recognised by the first bytes. Of an animation, the first frame is read."""
INPUT_MAX_PX = 50_000_000
"""The largest area of an image, in pixels; a decoded image takes three or four bytes per pixel."""

_WHITE, _BLACK = (255, 255, 255, 255), (0, 0, 0, 255)
_STRIP_PX = 1 << 20
_DRAFT_PX = 1 << 24
"""JPEGs up to this size are decoded in full, so that their pixels do not depend on what they are used for."""
_LEVELS_PER_LEVEL = 257
"""The number of 16-bit grey levels per 8-bit level."""


def measure(data: bytes) -> tuple[int, int]:
    """Width and height in pixels of the image in ``data``, before EXIF rotation; its pixels are not decoded.

    Raises:
        UnreadableImage: ``data`` is not an image, its checksums are wrong, or it has too many pixels.
    """
    with _opened(data) as image:
        size: tuple[int, int] = image.size
        image.verify()
    return size


def decode(data: bytes, used_px: int | None = None) -> Image.Image:
    """The image in ``data`` as RGB, rotated by its EXIF orientation; transparent areas become white.

    Args:
        used_px: the longer side in pixels of the size that the image is reduced to later. A very large JPEG is then
            decoded at a half, a quarter or an eighth of its size, and still has twice as many pixels on each side.

    Raises:
        UnreadableImage: as :func:`measure`, or its pixels cannot be decoded.
    """
    with _opened(data) as image:
        if used_px is not None and image.width * image.height > _DRAFT_PX:
            image.draft(None, (2 * used_px, 2 * used_px))
        return _as_mode(_flattened(image, _WHITE), "RGB")


def decode_mask(data: bytes) -> Image.Image:
    """The image in ``data`` as grey levels (mode L), rotated by its EXIF orientation; transparent areas become black.

    Raises:
        UnreadableImage: as :func:`decode`.
    """
    with _opened(data) as image:
        return _as_mode(_flattened(image, _BLACK), "L")


def header_size(file: Path | BytesIO) -> tuple[int, int] | None:
    """Width and height in pixels as the header of an image says, before EXIF rotation; ``None`` if it cannot be read.

    Only the header is read, which takes a fraction of a millisecond.
    """
    try:
        with Image.open(file, formats=FORMATS) as image:
            return image.size
    except Exception:  # damaged bytes can make Pillow raise anything; decoding says what is wrong
        return None


@contextmanager
def _opened(data: bytes) -> Iterator[Image.Image]:
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as image:
            _check_area(image)
            yield image
    except UnreadableImage:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnreadableImage(_too_large()) from error
    except UnidentifiedImageError as error:
        raise UnreadableImage(f"this is no image, or its format is not one of {', '.join(FORMATS)}") from error
    except Exception as error:  # damaged bytes can make Pillow raise anything
        raise UnreadableImage(f"the image cannot be read: {error}") from error


def _check_area(image: Image.Image) -> None:
    if image.width * image.height > INPUT_MAX_PX:
        raise UnreadableImage(_too_large())


def _too_large() -> str:
    return f"the image has more than {INPUT_MAX_PX} pixels"


def _flattened(image: Image.Image, ground: tuple[int, int, int, int]) -> Image.Image:
    ImageOps.exif_transpose(image, in_place=True)
    upright = image
    if upright.mode.startswith("I"):  # 16-bit grey: Pillow's own conversion clips the levels instead of scaling them
        return upright.convert("F").point(lambda level: level * (1 / _LEVELS_PER_LEVEL) + 0).convert("L")
    if not upright.has_transparency_data:
        return upright
    return in_strips(upright, "RGB", lambda strip: _on_ground(strip, ground))


def _on_ground(image: Image.Image, ground: tuple[int, int, int, int]) -> Image.Image:
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, ground), layer).convert("RGB")


def in_strips(image: Image.Image, mode: str, change: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """``change``, which looks at single pixels only, applied to ``image`` in strips; the result has the mode ``mode``.

    So the steps in between take little memory, and other threads run meanwhile: Pillow holds the interpreter's lock.
    """
    changed, rows = Image.new(mode, image.size, None), max(1, _STRIP_PX // image.width)
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        changed.paste(change(strip), (0, top))
    return changed


def _as_mode(image: Image.Image, mode: str) -> Image.Image:
    """``image`` in ``mode``, its pixels loaded; the same object if it has that mode already."""
    image.load()
    return image if image.mode == mode else in_strips(image, mode, lambda strip: strip.convert(mode))

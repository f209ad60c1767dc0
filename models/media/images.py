"""Decodes images from outside the server: accepted formats, largest size, transparency and orientation."""

from __future__ import annotations

from collections.abc import Iterator
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


def decode(data: bytes) -> Image.Image:
    """The image in ``data`` as RGB, rotated by its EXIF orientation; transparent areas become white.

    Raises:
        UnreadableImage: as :func:`measure`, or its pixels cannot be decoded.
    """
    with _opened(data) as image:
        return _flattened(image, _WHITE).convert("RGB")


def decode_mask(data: bytes) -> Image.Image:
    """The image in ``data`` as grey levels (mode L), rotated by its EXIF orientation; transparent areas become black.

    Raises:
        UnreadableImage: as :func:`decode`.
    """
    with _opened(data) as image:
        return _flattened(image, _BLACK).convert("L")


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
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I"):  # 16-bit grey: Pillow's own conversion clips the levels instead of scaling them
        return upright.convert("F").point(lambda level: level * (1 / _LEVELS_PER_LEVEL) + 0).convert("L")
    if not upright.has_transparency_data:
        return upright
    layer = upright.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, ground), layer)

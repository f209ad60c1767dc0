"""Images that come from outside: which formats there are, how large they may be, and how they are read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO

from PIL import Image, ImageOps, UnidentifiedImageError

from models.errors import UnreadableImage

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
"""What is read, by its first bytes; of a moving image, the first frame."""
INPUT_MAX_PX = 50_000_000
"""The largest area of an image, in pixels: decoded, it has three or four bytes for each."""

_WHITE, _BLACK = (255, 255, 255, 255), (0, 0, 0, 255)
_LEVELS_PER_LEVEL = 257
"""Levels of 16 bits to one of 8."""


def measure(data: bytes) -> tuple[int, int]:
    """Width and height in pixels, as they are stored, of the image in ``data``; its pixels are not decoded.

    Raises:
        UnreadableImage: it is none, is damaged as far as its checksums tell, or is too large.
    """
    with _opened(data) as image:
        size: tuple[int, int] = image.size
        image.verify()
    return size


def decode(data: bytes) -> Image.Image:
    """The image in ``data`` as RGB, turned upright as its EXIF says, what is transparent on white.

    Raises:
        UnreadableImage: as :func:`measure`, or its pixels cannot be decoded.
    """
    with _opened(data) as image:
        return _flattened(image, _WHITE).convert("RGB")


def decode_mask(data: bytes) -> Image.Image:
    """The image in ``data`` as L, turned upright as its EXIF says; what is transparent counts as dark.

    Raises:
        UnreadableImage: as :func:`decode`.
    """
    with _opened(data) as image:
        return _flattened(image, _BLACK).convert("L")


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
        raise UnreadableImage(f"this is no image; it may be {', '.join(FORMATS)}") from error
    except Exception as error:  # Pillow's readers raise whatever damaged bytes lead them to
        raise UnreadableImage(f"the image cannot be read: {error}") from error


def _check_area(image: Image.Image) -> None:
    if image.width * image.height > INPUT_MAX_PX:
        raise UnreadableImage(_too_large())


def _too_large() -> str:
    return f"the image has more than {INPUT_MAX_PX} pixels"


def _flattened(image: Image.Image, ground: tuple[int, int, int, int]) -> Image.Image:
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I"):  # 16 bits of grey: Pillow's own conversion cuts them off instead of scaling
        return upright.convert("F").point(lambda level: level * (1 / _LEVELS_PER_LEVEL) + 0).convert("L")
    if not upright.has_transparency_data:
        return upright
    layer = upright.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, ground), layer)

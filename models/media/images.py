"""Decodes images from outside the server: accepted formats, largest size, transparency and orientation."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from models.errors import DAMAGED, UnreadableImage
from models.media.header_exif import turn_upright
from models.media.icons import check_icon
from models.media.wholeness import mended, require_whole

MEDIA_TYPES: Mapping[str, str] = MappingProxyType({
    "PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp", "AVIF": "image/avif",
    "GIF": "image/gif", "BMP": "image/bmp", "TIFF": "image/tiff", "ICO": "image/x-icon", "JPEG2000": "image/jp2",
    "PPM": "image/x-portable-anymap",
})  # fmt: skip
"""The media type of each accepted format, by Pillow's name.

This is an allow-list: Pillow has decoders that start other programs or read other files (EPS, WMF), and many that
nobody maintains.
"""
FORMATS = tuple(MEDIA_TYPES)
"""The accepted formats, recognised by their bytes and never by a name or a declared type. Of an animation, the first
frame is read."""
INPUT_MAX_PX = 50_000_000
"""The largest area of an image, in pixels; a decoded image takes three or four bytes per pixel."""

_NOT_CONVERTED = ("LAB", "HSV")
"""Modes that Pillow does not convert to RGB."""
_WHITE = (255, 255, 255, 255)
_LEVEL_MAX = 255
_DEEP_LEVEL_MAX = 65_535
_OPAQUE = (255, 255)
_STRIP_PX = 1 << 20
_DRAFT_PX = 1 << 24
"""JPEGs up to this size are decoded in full, so that their pixels do not depend on what they are used for."""


def measure(data: bytes) -> tuple[int, int]:
    """Width and height in pixels of the image in ``data``, before EXIF rotation; its pixels are not decoded.

    Raises:
        UnreadableImage: ``data`` is not an image, its checksums are wrong, a part of it is missing, or it has too many
            pixels.
    """
    data = mended(data)
    with _opened(data) as image:
        size: tuple[int, int] = image.size
        require_whole(image, data)
        image.verify()
    return size


def decode(data: bytes, used_px: int | None = None) -> Image.Image:
    """The image in ``data`` as RGB, rotated by its EXIF orientation; transparent areas become white.

    A JPEG or PNG file that lacks its end is read as far as it goes, as viewers do.

    Args:
        used_px: the longer side in pixels of the size that the image is reduced to later. A very large JPEG is then
            decoded at a half, a quarter or an eighth of its size, and still has twice as many pixels on each side.

    Raises:
        UnreadableImage: as :func:`measure`, or its pixels cannot be decoded.
    """
    with _opened(mended(data)) as image:
        if used_px is not None and image.width * image.height > _DRAFT_PX:
            image.draft(None, (2 * used_px, 2 * used_px))
        upright = _upright(image)
        if upright.has_transparency_data:
            return in_strips(upright, "RGB", _on_white)
        return _as_mode(upright, "RGB")


def decode_layer(data: bytes) -> Image.Image:
    """The image in ``data``, rotated by its EXIF orientation: as RGBA if a pixel of it is transparent, else as RGB.

    Raises:
        UnreadableImage: as :func:`decode`.
    """
    with _opened(mended(data)) as image:
        upright = _upright(image)
        if upright.has_transparency_data:
            layer = _as_mode(upright, "RGBA")
            if layer.getchannel("A").getextrema() != _OPAQUE:
                return layer
        return _as_mode(upright, "RGB")


def decode_mask(data: bytes) -> Image.Image:
    """The mask in ``data`` as grey levels (mode L), rotated by its EXIF orientation.

    Of an image with transparent areas, the alpha channel is the mask: a layer that was painted on is opaque where it
    has strokes, whatever their colour (A1111's ``create_binary_mask``). Of any other image, its brightness is.

    Raises:
        UnreadableImage: as :func:`decode`.
    """
    with _opened(mended(data)) as image:
        upright = _upright(image)
        if upright.has_transparency_data:
            alpha = in_strips(upright, "L", lambda strip: strip.convert("RGBA").getchannel("A"))
            if alpha.getextrema() != _OPAQUE:
                return alpha
            upright = _as_mode(upright, "RGB")
        return _as_mode(upright, "L")


def header_size(file: Path | BinaryIO) -> tuple[int, int] | None:
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
        check_icon(data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of sizes, which are checked here, and of odd metadata
            opened = Image.open(BytesIO(data), formats=FORMATS)
        with opened as image:
            _check(image)
            yield image
    except UnreadableImage:
        raise
    except Image.DecompressionBombError as error:
        raise UnreadableImage(_too_large()) from error
    except UnidentifiedImageError as error:
        raise UnreadableImage(f"this is no image, or its format is not one of {', '.join(FORMATS)}") from error
    except Exception as error:  # damaged bytes can make Pillow raise anything
        raise UnreadableImage(DAMAGED) from error


def _check(image: Image.Image) -> None:
    if image.width * image.height > INPUT_MAX_PX:
        raise UnreadableImage(_too_large())
    if image.mode in _NOT_CONVERTED:
        raise UnreadableImage(f"the image has the colour space {image.mode}, which is not read; convert it to RGB")


def _too_large() -> str:
    return f"the image has more than {INPUT_MAX_PX} pixels"


def _upright(image: Image.Image) -> Image.Image:
    """``image`` rotated by its EXIF orientation, in a mode that Pillow converts without cutting levels off."""
    turn_upright(image)
    if image.mode.startswith("I"):
        return _in_eight_bits(image, _DEEP_LEVEL_MAX)
    if image.mode == "F":
        low, high = image.getextrema()
        assert isinstance(low, float) and isinstance(high, float)  # one channel has one pair of extrema
        return _in_eight_bits(image, 1.0 if low >= 0 and high <= 1 else _LEVEL_MAX)
    return image


def _in_eight_bits(image: Image.Image, level_max: float) -> Image.Image:
    """``image`` of one channel as mode L; Pillow's own conversion clips the levels instead of scaling them."""

    def scaled(strip: Image.Image) -> Image.Image:
        return strip.convert("F").point(lambda level: level * (_LEVEL_MAX / level_max) + 0).convert("L")

    return in_strips(image, "L", scaled)


def _on_white(image: Image.Image) -> Image.Image:
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, _WHITE), layer).convert("RGB")


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

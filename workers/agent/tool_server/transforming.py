"""One image changed: cropped, flipped, rotated, resized or written in another format."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from PIL import Image

from workers.agent.tool_server.errors import Refused
from workers.agent.tool_server.folder import Folder
from workers.agent.tool_server.images import color, read_image, require_ending, require_size, write_image

Flip = Literal["horizontal", "vertical"]
_FLIPS = {"horizontal": Image.Transpose.FLIP_LEFT_RIGHT, "vertical": Image.Transpose.FLIP_TOP_BOTTOM}
_QUARTERS = {90: Image.Transpose.ROTATE_270, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_90}


def transform(
    folder: Folder,
    name: str,
    save_as: str,
    crop: Sequence[int] | None,
    flip: Flip | None,
    rotate_degrees: float,
    size: tuple[int | None, int | None],
    background: str,
) -> dict[str, Any]:
    """Change an image and write it; what the tool answers.

    Args:
        crop: left, top, right and bottom in pixels.
        rotate_degrees: clockwise; the image becomes as large as it needs to be.
        size: width and height; if one is ``None``, the proportions are kept.

    Raises:
        Refused: the image cannot be read, or the result cannot be as it was asked for.
    """
    require_ending(save_as)
    ground, image = color(background), read_image(folder, name)
    if crop is not None:
        image = image.crop(_box(crop, image))
    if flip is not None:
        image = image.transpose(_FLIPS[flip])
    image = _rotated(image, rotate_degrees % 360, ground)
    wanted = _size(image, *size)
    require_size(*wanted)
    if wanted != image.size:
        image = image.resize(wanted, Image.Resampling.LANCZOS)
    return write_image(folder, save_as, image, ground)


def _box(crop: Sequence[int], image: Image.Image) -> tuple[int, int, int, int]:
    left, top, right, bottom = crop
    if not (0 <= left < right <= image.width and 0 <= top < bottom <= image.height):
        raise Refused(
            f"crop is left, top, right, bottom within the image, which is {image.width} pixels wide and {image.height} "
            "high"
        )
    return left, top, right, bottom


def _rotated(image: Image.Image, degrees: float, ground: tuple[int, int, int, int]) -> Image.Image:
    if degrees == 0:
        return image
    if degrees in _QUARTERS:
        return image.transpose(_QUARTERS[int(degrees)])
    diagonal = round((image.width**2 + image.height**2) ** 0.5)
    require_size(diagonal, diagonal)
    if ground[3] < 255:
        image = image.convert("RGBA")
    fill = ground if image.mode == "RGBA" else ground[:3]
    return image.rotate(-degrees, Image.Resampling.BICUBIC, expand=True, fillcolor=fill)


def _size(image: Image.Image, width: int | None, height: int | None) -> tuple[int, int]:
    if width is None and height is None:
        return image.size
    if width is None:
        assert height is not None
        return max(1, round(image.width * height / image.height)), height
    return width, height or max(1, round(image.height * width / image.width))

"""The images of a form: they are stored, several are put on one canvas, and transparent areas become a mask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from io import BytesIO
from typing import Any

from PIL import ExifTags, Image
from starlette.concurrency import run_in_threadpool

from models.errors import DAMAGED, UnreadableImage
from models.jobs.cost import area
from models.media.collage import Box, cells
from models.media.fitting import Size, fit
from models.media.header_exif import header_exif, turn_upright
from models.media.images import FORMATS, INPUT_MAX_PX, decode, in_strips, measure
from models.media.png import read_request
from models.media.wholeness import mended
from service.api.openai.errors import OpenAiError
from service.api.state import Gateway
from service.jobs.errors import ImageRefused

_SWAPPING_ORIENTATIONS = (5, 6, 7, 8)
"""The EXIF orientations that swap width and height."""


@dataclass(frozen=True)
class FormImages:
    """The images that an edit or a variation starts from."""

    image: str
    """The source of the stored image; likewise ``mask``, which is white where the image changes."""
    mask: str | None
    size: tuple[int, int]
    """Width and height in pixels of ``image``, after its EXIF orientation is applied."""
    prompt: str | None
    """The prompt in the metadata of an image that Photogram generated."""


async def store_canvas(gateway: Gateway, images: Sequence[bytes], size_for: Callable[[Size], Size]) -> FormImages:
    """Put several images beside each other on one canvas, and store it.

    Args:
        size_for: the size of the canvas, for the size of the first image.

    Raises:
        OpenAiError: an image cannot be used.
    """
    sizes = [await run_in_threadpool(_checked_size, image) for image in images]
    if sum(map(area, sizes)) > INPUT_MAX_PX:
        raise OpenAiError(f"image: several images must have at most {INPUT_MAX_PX} pixels together", param="image")
    canvas = Image.new("RGB", size_for(sizes[0]))
    for image, size, box in zip(images, sizes, cells(sizes, canvas.size), strict=True):
        canvas.paste(await gateway.decoding.run(area(size), partial(_cropped, image, box)), box)
    return await run_in_threadpool(lambda: _stored_image(gateway, _png(canvas)))


def _checked_size(image: bytes) -> Size:
    try:
        measure(image)
    except UnreadableImage as error:
        raise OpenAiError(f"image: {error}", param="image") from error
    return upright_size(image)


def _cropped(image: bytes, box: Box) -> Image.Image:
    left, top, right, bottom = box
    size = right - left, bottom - top
    try:
        return fit(decode(image, max(size)), size, "crop")
    except UnreadableImage as error:
        raise OpenAiError(f"image: {error}", param="image") from error


async def store_image(gateway: Gateway, image: bytes, mask: bytes | None = None) -> FormImages:
    """Check and store an image and its mask.

    Args:
        mask: an image with an alpha channel. ``None`` uses the alpha channel of ``image``, if a part of it is fully
            transparent.

    Raises:
        OpenAiError: an image cannot be used.
    """
    stored = await run_in_threadpool(_stored_image, gateway, image)
    if mask is not None:
        await run_in_threadpool(_check_mask, gateway, mask, stored.size)
    with_alpha, param = (image, "image") if mask is None else (mask, "mask")
    found = await gateway.decoding.run(_alpha_px(with_alpha), lambda: mask_of_alpha(with_alpha, param))
    if found is not None:
        return replace(stored, mask=await run_in_threadpool(_stored, gateway, found, "mask"))
    if mask is None:
        return stored
    raise OpenAiError(
        "mask: must be fully transparent where the image is to change, and has no such area", param="mask"
    )


def _stored_image(gateway: Gateway, image: bytes) -> FormImages:
    """The stored image, without a mask."""
    source = _stored(gateway, image, "image")
    return FormImages(image=source, mask=None, size=upright_size(image), prompt=_recorded_prompt(image))


def _stored(gateway: Gateway, data: bytes, param: str) -> str:
    try:
        return gateway.jobs.store_image(data).source
    except ImageRefused as error:
        raise OpenAiError(f"{param}: {error}", param=param) from error


def upright_size(data: bytes) -> tuple[int, int]:
    """Width and height in pixels of the image in ``data`` after its EXIF orientation; its pixels are not decoded."""
    with Image.open(BytesIO(mended(data)), formats=FORMATS) as image:
        width, height = image.size
        return (
            (height, width)
            if header_exif(image, data).get(ExifTags.Base.Orientation) in _SWAPPING_ORIENTATIONS
            else (width, height)
        )


def _check_mask(gateway: Gateway, mask: bytes, size: tuple[int, int]) -> None:
    _stored(gateway, mask, "mask")
    if upright_size(mask) != size:
        raise OpenAiError(f"mask: must have the size of the image, {size[0]} x {size[1]} pixels", param="mask")


def _alpha_px(data: bytes) -> int:
    """How many pixels must be decoded to read the alpha channel of the image: none if it has no such channel."""
    with Image.open(BytesIO(data), formats=FORMATS) as image:
        return image.width * image.height if image.has_transparency_data else 0


def mask_of_alpha(data: bytes, param: str) -> bytes | None:
    """A mask as a PNG file, white where the image is fully transparent; ``None`` if it is nowhere.

    Raises:
        OpenAiError: the image cannot be read; ``param`` is the field that had it.
    """
    try:
        with Image.open(BytesIO(mended(data)), formats=FORMATS) as image:
            if not image.has_transparency_data:
                return None
            turn_upright(image)
            mask = in_strips(image, "L", _transparent)
    except Exception as error:  # damaged files make Pillow raise many kinds of exception
        raise OpenAiError(f"{param}: {DAMAGED}", param=param) from error
    return None if mask.getbbox() is None else _png(mask)


def _png(image: Image.Image) -> bytes:
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _transparent(image: Image.Image) -> Image.Image:
    """White where ``image`` is fully transparent, else black."""
    return image.convert("RGBA").getchannel("A").point(lambda level: 255 * (level == 0))


def _recorded_prompt(data: bytes) -> str | None:
    try:
        request = read_request(data) or {}
    except UnreadableImage:  # not a PNG file
        return None
    params: Any = request.get("params")
    prompt = params.get("prompt") if isinstance(params, dict) else None
    return prompt if isinstance(prompt, str) and prompt.strip() else None

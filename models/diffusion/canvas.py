"""Canvases: input images and masks resized, cropped to the masked area, and put back together after drawing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from PIL import Image, ImageChops, ImageFilter

from models.errors import InputUnavailable
from models.jobs.params import Mask
from models.media.fitting import fit, resized

Size = tuple[int, int]
Finish = Callable[[Image.Image], Image.Image]
"""Makes the image that the request asks for out of the image that was drawn."""
_OPAQUE = 255
_SPREAD_MAX_PX = 1 << 22
"""Larger images are spread after they were resized: blurring one takes a second for each 4 million pixels."""


@dataclass(frozen=True)
class Canvas:
    """An image to draw over, and its mask, both of the size that is drawn."""

    image: Image.Image
    """RGB."""
    mask: Image.Image | None = None
    """L, light where the image is redrawn; ``None`` redraws all of it."""
    fill: str = "original"
    """The content of the masked area before drawing, one of :data:`models.jobs.params.FILLS`; "fill" is applied to
    ``image`` already."""


@dataclass(frozen=True)
class Prepared:
    """A canvas, and the function to be applied to the image that is drawn over it."""

    canvas: Canvas | None
    """``None`` draws from noise alone."""
    finish: Finish | None
    """``None`` if the drawn image is the one that the request asks for."""


def resizing(drawn_size: Size, size: Size) -> Finish | None:
    """Resizes drawn images to ``size``; ``None`` if they have it."""
    return None if drawn_size == size else partial(resized, size=size)


def over_image(image: Image.Image, size: Size, drawn_size: Size, resize_mode: str) -> Prepared:
    """Prepare img2img: all of ``image`` is redrawn at ``drawn_size``, and the result is resized to ``size``."""
    fitted = fit(image, size, resize_mode)
    return Prepared(Canvas(resized(fitted, drawn_size)), resizing(drawn_size, size))


def over_mask(
    image: Image.Image, mask_image: Image.Image, mask: Mask, size: Size, drawn_size: Size, resize_mode: str
) -> Prepared:
    """Prepare inpaint: the light area of the mask is redrawn, and all other pixels stay exactly the same."""
    if mask.only_masked:
        return _over_crop(image, mask_image, mask, drawn_size)
    image = fit(image, size, resize_mode)
    soft = _softened(fit(mask_image.convert("L"), size, resize_mode), mask)
    canvas = _canvas(image, soft, mask.fill, drawn_size)
    return Prepared(canvas, lambda result: Image.composite(resized(result, size), image, soft))


def _over_crop(image: Image.Image, mask_image: Image.Image, mask: Mask, drawn_size: Size) -> Prepared:
    """Draw only the masked area and its surroundings; the result has the size of ``image``."""
    soft = _softened(resized(mask_image.convert("L"), image.size), mask)
    box = crop_box(soft, mask.padding_px, drawn_size)
    canvas = _canvas(image.crop(box), soft.crop(box), mask.fill, drawn_size)

    def put_back(result: Image.Image) -> Image.Image:
        whole = image.copy()
        whole.paste(resized(result, (box[2] - box[0], box[3] - box[1])), box[:2])
        return Image.composite(whole, image, soft)

    return Prepared(canvas, put_back)


def crop_box(mask: Image.Image, padding_px: int, shape: Size) -> tuple[int, int, int, int]:
    """The smallest box around the light area of ``mask`` with ``padding_px`` and the aspect ratio of ``shape``.

    Where the image is too small for this aspect ratio, the box comes as near to it as possible.

    Raises:
        InputUnavailable: no pixel of the mask is light.
    """
    light = mask.point(lambda level: _OPAQUE * (level >= _OPAQUE / 2)).getbbox()
    if light is None:
        raise InputUnavailable("the mask is empty: no pixel of it marks an area to redraw", "mask.image")
    sides = [(max(0, light[axis] - padding_px), min(mask.size[axis], light[axis + 2] + padding_px)) for axis in (0, 1)]
    (left, right), (top, bottom) = sides
    width, height = right - left, bottom - top
    lengths = (max(width, round(height * shape[0] / shape[1])), max(height, round(width * shape[1] / shape[0])))
    (left, right), (top, bottom) = (
        _widened(low, high, length, limit) for (low, high), length, limit in zip(sides, lengths, mask.size, strict=True)
    )
    return left, top, right, bottom


def _widened(low: int, high: int, length: int, limit: int) -> tuple[int, int]:
    """``low..high`` widened to ``length`` around its middle, and moved to lie within ``0..limit``."""
    length = min(length, limit)
    start = min(max(0, (low + high - length) // 2), limit - length)
    return start, start + length


def _softened(levels: Image.Image, mask: Mask) -> Image.Image:
    inverted = ImageChops.invert(levels) if mask.invert else levels
    return inverted.filter(ImageFilter.GaussianBlur(mask.blur_px)) if mask.blur_px else inverted


def _canvas(image: Image.Image, soft: Image.Image, fill: str, drawn_size: Size) -> Canvas:
    if fill == "fill":
        if image.width * image.height > _SPREAD_MAX_PX:
            image, soft = resized(image, drawn_size), resized(soft, drawn_size)
        image = spread(image, soft)
    return Canvas(resized(image, drawn_size), resized(soft, drawn_size), fill)


def spread(image: Image.Image, mask: Image.Image) -> Image.Image:
    """Spread the colours around the masked area of ``image`` into it, as A1111's masked content "fill" does.

    Blurred copies of the unmasked part are laid over one another, the most blurred one at the bottom.
    """
    kept = image.convert("RGBA")
    kept.putalpha(ImageChops.invert(mask))
    kept = Image.composite(kept, Image.new("RGBA", kept.size), kept.getchannel("A"))
    filled = image.resize((1, 1), Image.Resampling.BOX).resize(image.size).convert("RGBA")
    radius = max(kept.size) / 4
    while radius >= 1:
        blurred = kept.convert("RGBa").filter(ImageFilter.GaussianBlur(radius)).convert("RGBA")
        for _ in range(2):
            filled.alpha_composite(blurred)
        radius /= 4
    filled.alpha_composite(kept)
    return filled.convert("RGB")

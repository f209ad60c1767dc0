"""Images to draw over: brought to size, masked, cropped to what is masked, and put back together afterwards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from PIL import Image, ImageChops, ImageFilter, ImageOps

from models.diffusion.begin import Canvas
from models.errors import DrawingFailed
from models.jobs.params import Mask

Size = tuple[int, int]
Finish = Callable[[Image.Image], Image.Image]
"""From what was drawn to what was asked for."""
_OPAQUE = 255


@dataclass(frozen=True)
class Prepared:
    """A canvas, and what is to be done with the image that is drawn over it."""

    canvas: Canvas | None
    """``None`` draws from noise alone."""
    finish: Finish


def fit(image: Image.Image, size: Size, mode: str) -> Image.Image:
    """``image`` at ``size``: "stretch" bends it, "crop" cuts its edges off, "fill" keeps all and lengthens edges."""
    match mode:
        case "stretch":
            return image.resize(size, Image.Resampling.LANCZOS)
        case "crop":
            return ImageOps.fit(image, size, Image.Resampling.LANCZOS)
        case "fill":
            return _lengthened(ImageOps.contain(image, size, Image.Resampling.LANCZOS), size)
        case _:
            raise DrawingFailed(f"there is no resize mode {mode!r}")


def _lengthened(image: Image.Image, size: Size) -> Image.Image:
    """``image`` in the middle of ``size``, its outermost rows and columns drawn out over the rest."""
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


def over_image(image: Image.Image, asked: Size, drawn: Size, resize_mode: str) -> Prepared:
    """For img2img: drawn over everywhere, at the size ``drawn``, and enlarged to the size ``asked``."""
    fitted = fit(image, asked, resize_mode)
    return Prepared(Canvas(resized(fitted, drawn)), partial(resized, size=asked))


def over_mask(
    image: Image.Image, mask_image: Image.Image, mask: Mask, asked: Size, drawn: Size, resize_mode: str
) -> Prepared:
    """For inpaint: drawn over where the mask is light; all else stays, to the pixel, as it was."""
    if mask.only_masked:
        return _over_crop(image, mask_image, mask, drawn)
    image = fit(image, asked, resize_mode)
    soft = _softened(fit(mask_image.convert("L"), asked, resize_mode), mask)
    canvas = _canvas(image, soft, mask.fill, drawn)
    return Prepared(canvas, lambda result: Image.composite(resized(result, asked), image, soft))


def _over_crop(image: Image.Image, mask_image: Image.Image, mask: Mask, drawn: Size) -> Prepared:
    """Only the masked part and its surroundings are drawn; the result is as large as ``image``."""
    soft = _softened(resized(mask_image.convert("L"), image.size), mask)
    box = crop_box(soft, mask.padding_px, drawn)
    canvas = _canvas(image.crop(box), soft.crop(box), mask.fill, drawn)

    def put_back(result: Image.Image) -> Image.Image:
        whole = image.copy()
        whole.paste(resized(result, (box[2] - box[0], box[3] - box[1])), box[:2])
        return Image.composite(whole, image, soft)

    return Prepared(canvas, put_back)


def crop_box(mask: Image.Image, padding_px: int, shape: Size) -> tuple[int, int, int, int]:
    """The smallest box around all that is light in ``mask`` and ``padding_px`` more, of the aspect ratio of ``shape``.

    Where the image is not large enough for the aspect ratio, the box is as near to it as it can be.

    Raises:
        DrawingFailed: nothing is light.
    """
    light = mask.point(lambda level: _OPAQUE * (level >= _OPAQUE / 2)).getbbox()
    if light is None:
        raise DrawingFailed("the mask is empty: there is nothing to draw anew")
    sides = [(max(0, light[axis] - padding_px), min(mask.size[axis], light[axis + 2] + padding_px)) for axis in (0, 1)]
    (left, right), (top, bottom) = sides
    width, height = right - left, bottom - top
    wanted = (max(width, round(height * shape[0] / shape[1])), max(height, round(width * shape[1] / shape[0])))
    (left, right), (top, bottom) = (
        _widened(low, high, length, limit) for (low, high), length, limit in zip(sides, wanted, mask.size, strict=True)
    )
    return left, top, right, bottom


def _widened(low: int, high: int, length: int, limit: int) -> tuple[int, int]:
    """``low..high`` made ``length`` long around its middle, and moved to lie within ``0..limit``."""
    length = min(length, limit)
    start = min(max(0, (low + high - length) // 2), limit - length)
    return start, start + length


def _softened(levels: Image.Image, mask: Mask) -> Image.Image:
    turned = ImageChops.invert(levels) if mask.invert else levels
    return turned.filter(ImageFilter.GaussianBlur(mask.blur_px)) if mask.blur_px else turned


def _canvas(image: Image.Image, soft: Image.Image, fill: str, drawn: Size) -> Canvas:
    if fill == "fill":
        image = spread(image, soft)
    return Canvas(resized(image, drawn), resized(soft, drawn), fill)


def spread(image: Image.Image, mask: Image.Image) -> Image.Image:
    """``image`` with the colours around the masked area spread into it, as A1111's masked content "fill".

    Blurred copies of what is kept are laid over one another, the most blurred at the bottom.
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


def resized(image: Image.Image, size: Size) -> Image.Image:
    """``image`` bent to ``size``, untouched if it has it."""
    return image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)

"""Images to draw over: sizes, masks, crops, and everything outside the mask as it was."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageChops

from models.diffusion.canvas import crop_box, over_image, over_mask, spread
from models.errors import DrawingFailed, InputUnavailable
from models.jobs.params import Mask
from models.media.fitting import fit


def gradient(size: tuple[int, int]) -> Image.Image:
    width, height = size
    y, x = np.mgrid[0:height, 0:width]
    return Image.fromarray(np.stack([x * 255 // width, y * 255 // height, x * 0 + 90], axis=-1).astype(np.uint8))


def box_mask(size: tuple[int, int], box: tuple[int, int, int, int]) -> Image.Image:
    mask = Image.new("L", size)
    mask.paste(255, box)
    return mask


@pytest.mark.parametrize("size", [(100, 50), (50, 100), (64, 64), (8, 200)])
@pytest.mark.parametrize("mode", ["stretch", "crop", "fill"])
def test_every_mode_gives_the_size(mode: str, size: tuple[int, int]) -> None:
    assert fit(gradient((90, 60)), size, mode).size == size


def test_crop_keeps_the_middle_and_the_proportions() -> None:
    image = Image.new("RGB", (90, 30), "red")
    image.paste("blue", (30, 0, 60, 30))
    assert fit(image, (30, 30), "crop").getcolors() == [(900, (0, 0, 255))]


@pytest.mark.parametrize(("size", "far"), [((40, 20), (2, 10)), ((20, 40), (10, 2))])
def test_fill_lengthens_the_edges(size: tuple[int, int], far: tuple[int, int]) -> None:
    filled = fit(gradient((20, 20)), size, "fill")
    assert filled.getpixel(far) == filled.getpixel((10, 10)), "the middle of the edge"
    assert ImageChops.difference(filled.crop((10, 0, 30, 20)) if size[0] > 20 else filled.crop((0, 10, 20, 30)),
                                 gradient((20, 20))).getbbox() is None  # fmt: skip


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(DrawingFailed, match="resize_mode 'squeeze' is unknown"):
        fit(gradient((8, 8)), (8, 8), "squeeze")


def test_what_is_drawn_small_becomes_what_was_asked_for() -> None:
    prepared = over_image(gradient((90, 60)), (256, 256), (128, 128), "crop")
    assert prepared.canvas is not None and prepared.finish is not None
    assert prepared.canvas.image.size == (128, 128)
    assert prepared.finish(Image.new("RGB", (128, 128))).size == (256, 256)


@pytest.mark.parametrize("mask", [Mask(image="", blur_px=0), Mask(image="", blur_px=0, invert=True),
                                  Mask(image="", blur_px=0, only_masked=True, padding_px=8)])  # fmt: skip
def test_outside_the_mask_nothing_changes(mask: Mask) -> None:
    image, box = gradient((96, 64)), box_mask((96, 64), (20, 10, 50, 40))
    prepared = over_mask(image, box, mask, (96, 64), (64, 64), "stretch")
    result = prepared.finish(Image.new("RGB", (64, 64), "white"))
    light = ImageChops.invert(box) if mask.invert else box
    kept = Image.composite(image, result, light)
    assert ImageChops.difference(kept, image).getbbox() is None
    white = Image.composite(result, Image.new("RGB", result.size, "white"), light)
    assert white.getcolors() == [(96 * 64, (255, 255, 255))]


def test_a_blurred_mask_fades() -> None:
    image = Image.new("RGB", (64, 64))
    prepared = over_mask(image, box_mask((64, 64), (0, 0, 32, 64)), Mask(image="", blur_px=4), (64, 64), (64, 64),
                         "stretch")  # fmt: skip
    levels = [prepared.finish(Image.new("RGB", (64, 64), "white")).getpixel((x, 32))[0] for x in range(20, 45)]
    assert levels == sorted(levels, reverse=True)
    assert len(set(levels)) > 10


def test_only_the_masked_part_is_drawn_at_full_size() -> None:
    image, mask = gradient((400, 300)), box_mask((400, 300), (100, 100, 140, 140))
    prepared = over_mask(
        image, mask, Mask(image="", only_masked=True, padding_px=10, blur_px=0), (512, 512), (64, 64), "crop"
    )
    assert prepared.canvas is not None and prepared.finish is not None
    assert prepared.canvas.image.size == (64, 64)
    part = image.crop((90, 90, 150, 150)).resize((64, 64), Image.Resampling.LANCZOS)
    assert ImageChops.difference(prepared.canvas.image, part).getbbox() is None
    assert prepared.finish(part).size == (400, 300)


@pytest.mark.parametrize(
    ("light", "padding_px", "shape", "box"),
    [
        ((40, 40, 60, 60), 0, (1, 1), (40, 40, 60, 60)),
        ((40, 40, 60, 60), 5, (1, 1), (35, 35, 65, 65)),
        ((40, 40, 60, 60), 0, (2, 1), (30, 40, 70, 60)),
        ((0, 40, 20, 60), 0, (2, 1), (0, 40, 40, 60)),
        ((80, 0, 100, 10), 4, (1, 2), (76, 0, 100, 48)),
        ((0, 0, 100, 10), 0, (1, 4), (0, 0, 100, 100)),
    ],
)
def test_the_crop_box(
    light: tuple[int, int, int, int], padding_px: int, shape: tuple[int, int], box: tuple[int, int, int, int]
) -> None:
    assert crop_box(box_mask((100, 100), light), padding_px, shape) == box


def test_an_empty_mask_has_no_box() -> None:
    with pytest.raises(InputUnavailable, match="the mask is empty"):
        crop_box(Image.new("L", (64, 64)), 8, (1, 1))


def test_fill_spreads_the_surroundings_into_the_mask() -> None:
    image = Image.new("RGB", (128, 128), "green")
    image.paste("red", (40, 40, 80, 80))
    filled = spread(image, box_mask((128, 128), (36, 36, 84, 84)))
    inside = np.asarray(filled.crop((45, 45, 75, 75))).astype(int)
    assert abs(inside - np.array([0, 128, 0])).max() < 60, "nothing is left of the red"
    outside = box_mask((128, 128), (36, 36, 84, 84)).point(lambda level: 255 - level)
    kept = Image.composite(filled, image, outside)
    assert ImageChops.difference(kept, image).getbbox() is None

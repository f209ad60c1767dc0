"""The comparison sheet: images of torch above those of a deployed model, and below them where they differ."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image as pillow
from PIL import ImageChops, ImageDraw
from PIL.Image import Image

from models.deploy.proof import ImageDifference

_GAP, _LINE, _LEFT = 8, 16, 72
_AMPLIFIED = 8


def comparison_sheet(expected: Sequence[Image], found: Sequence[Image], errors: Sequence[ImageDifference]) -> Image:
    """One column for each pair of images, with their differences times 8."""
    widths, height = [each.width for each in expected], max(each.height for each in expected)
    size = (_LEFT + sum(widths) + _GAP * (len(widths) + 1), _LINE * 2 + 3 * (height + _GAP) + _GAP)
    sheet = pillow.new("RGB", size, "white")
    pen = ImageDraw.Draw(sheet)
    for row, title in enumerate(("torch", "deployed", f"difference x{_AMPLIFIED}")):
        pen.text((_GAP, 2 * _LINE + row * (height + _GAP) + height // 2), title.replace(" x", "\nx"), fill="black")
    left = _LEFT + _GAP
    for one, other, error in zip(expected, found, errors, strict=True):
        pen.text((left, 0), error.title[: one.width // 6], fill="black")
        pen.text((left, _LINE), f"{error.psnr_db:.1f} dB", fill="black")
        difference = ImageChops.difference(one.convert("RGB"), other.convert("RGB"))
        for row, each in enumerate((one, other, difference.point(lambda level: min(255, level * _AMPLIFIED)))):
            sheet.paste(each, (left, 2 * _LINE + row * (height + _GAP)))
        left += one.width + _GAP
    return sheet

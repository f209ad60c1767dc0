"""Several images as one: a grid, a storyboard, a contact sheet, an animation or a document."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Literal

from PIL import Image

from workers.agent.tool_server.errors import Refused
from workers.agent.tool_server.folder import Folder
from workers.agent.tool_server.images import (
    IMAGE_MAX_PX,
    Color,
    color,
    flattened,
    read_image,
    require_ending,
    require_size,
    write_file,
    write_image,
)
from workers.agent.tool_server.lettering import Block, draw_block, drawable, wrapped

Layout = Literal["grid", "storyboard", "contact_sheet", "gif", "pdf"]
IMAGES_MAX = 64
CAPTION_MAX_CHARS = 300
_DEFAULT_CELL_PX = {"grid": 256, "storyboard": 384, "contact_sheet": 160, "gif": 384, "pdf": 768}
_CAPTION_GAP_PX = 8
_TITLE, _CAPTION = (16, 20, 40), (18, 12, 24)
"""How many times smaller letters are than the width that they have, and the smallest and the largest, in pixels."""
_BLACK, _WHITE, _BRIGHT = (0, 0, 0), (255, 255, 255), 128
_PDF_DPI = 100.0
_PDF_TIME = time.gmtime(0)
"""A document of the same images has the same bytes."""


@dataclass(frozen=True)
class Order:
    """What to compose, as the tool is called."""

    layout: Layout
    images: Sequence[str]
    captions: Sequence[str] | None
    columns: int | None
    cell_px: int | None
    gap_px: int
    background: str
    title: str | None
    frame_ms: int


@dataclass(frozen=True)
class _Panel:
    """One image in its cell, with what is written below it."""

    image: Image.Image
    caption: Block | None

    def height_px(self, image_px: int) -> int:
        """The cell, with ``image_px`` for the image."""
        return image_px + (self.caption.height_px + _CAPTION_GAP_PX if self.caption else 0)


def compose(folder: Folder, order: Order, save_as: str) -> dict[str, Any]:
    """Compose images and write the result; what the tool answers.

    Raises:
        Refused: an image cannot be read, the captions do not fit the images, or the result would be too large.
    """
    if order.layout in ("gif", "pdf"):
        require_ending(save_as, (f".{order.layout}",))
    else:
        require_ending(save_as)
    captions, ground = _captions(order), color(order.background)
    cell_px = _cell_px(order)
    panels = [
        _panel(folder, name, caption, cell_px) for name, caption in zip(order.images, captions, strict=True)
    ]  # fmt: skip
    if order.layout in ("gif", "pdf"):
        answer = _write_pages(folder, save_as, order, panels, cell_px, ground)
    else:
        answer = write_image(folder, save_as, _sheet(order, panels, cell_px, ground), ground)
    if any(drawable(text).split() != text.split() for text in (*captions, order.title) if text):
        answer["note"] = "some characters are not in the font, and were drawn as similar ones or as ?"
    return {**answer, "layout": order.layout, "images": len(panels)}


def _cell_px(order: Order) -> int:
    """The longer side of each image, which is bounded before any is read."""
    largest = math.isqrt(IMAGE_MAX_PX // len(order.images))
    if order.cell_px is None:
        return min(_DEFAULT_CELL_PX[order.layout], largest * 3 // 4)
    if order.cell_px > largest:
        raise Refused(f"for {len(order.images)} images, cell_px is at most {largest} pixels")
    return order.cell_px


def _captions(order: Order) -> Sequence[str | None]:
    if order.layout == "contact_sheet":
        if order.captions:
            raise Refused("a contact sheet has the file names below the images; leave captions out")
        return order.images
    if not order.captions:
        return [None] * len(order.images)
    if len(order.captions) != len(order.images):
        raise Refused(f"there are {len(order.images)} images and {len(order.captions)} captions; give one for each")
    return order.captions


def _panel(folder: Folder, name: str, caption: str | None, cell_px: int) -> _Panel:
    image = read_image(folder, name)
    image.thumbnail((cell_px, cell_px), Image.Resampling.LANCZOS)
    if max(image.size) < cell_px:
        scale = cell_px / max(image.size)
        size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
        image = image.resize(size, Image.Resampling.LANCZOS)
    block = wrapped(caption, cell_px, _letters_px(cell_px, *_CAPTION)) if caption and caption.strip() else None
    return _Panel(image, block)


def _letters_px(width_px: int, share: int, smallest: int, largest: int) -> int:
    return max(smallest, min(largest, width_px // share))


def _sheet(order: Order, panels: Sequence[_Panel], cell_px: int, ground: Color) -> Image.Image:
    gap, columns = order.gap_px, min(order.columns or _columns(order.layout, len(panels)), len(panels))
    rows = [panels[first : first + columns] for first in range(0, len(panels), columns)]
    image_px = [cell_px if order.layout == "grid" else max(each.image.height for each in row) for row in rows]
    heights = [max(each.height_px(image) for each in row) for row, image in zip(rows, image_px, strict=True)]
    width = gap + columns * (cell_px + gap)
    title = wrapped(order.title, width - 2 * gap, _letters_px(width, *_TITLE)) if order.title else None
    title_px = title.height_px + gap if title else 0
    height = gap + title_px + sum(heights) + gap * len(rows)
    require_size(width, height)
    canvas = _canvas((width, height), ground)
    if title:
        draw_block(canvas, title, gap, gap, width - 2 * gap, _ink(ground))
    top = gap + title_px
    for row, image, row_px in zip(rows, image_px, heights, strict=True):
        for column, panel in enumerate(row):
            _draw_panel(canvas, panel, (gap + column * (cell_px + gap), top), (cell_px, image), ground)
        top += row_px + gap
    return canvas


def _columns(layout: Layout, count: int) -> int:
    if layout == "storyboard" and count <= 3:
        return count
    return math.ceil(math.sqrt(count))


def _draw_panel(
    canvas: Image.Image, panel: _Panel, place: tuple[int, int], room: tuple[int, int], ground: Color
) -> None:
    (left, top), (width, height) = place, room
    x, y = left + (width - panel.image.width) // 2, top + (height - panel.image.height) // 2
    if canvas.mode == "RGBA":
        canvas.alpha_composite(panel.image.convert("RGBA"), (x, y))
    else:
        canvas.paste(panel.image, (x, y), panel.image if panel.image.mode == "RGBA" else None)
    if panel.caption:
        draw_block(canvas, panel.caption, left, top + height + _CAPTION_GAP_PX, width, _ink(ground))


def _canvas(size: tuple[int, int], ground: Color) -> Image.Image:
    opaque = ground[3] == 255
    return Image.new("RGB" if opaque else "RGBA", size, ground[:3] if opaque else ground)


def _ink(ground: Color) -> tuple[int, int, int]:
    """Black or white, whichever is seen better on ``ground``; a transparent one is taken for white."""
    red, green, blue, alpha = ground
    luma = (299 * red + 587 * green + 114 * blue) // 1000
    return _WHITE if alpha > _BRIGHT and luma < _BRIGHT else _BLACK


def _write_pages(
    folder: Folder, save_as: str, order: Order, panels: Sequence[_Panel], cell_px: int, ground: Color
) -> dict[str, Any]:
    """An animation or a document: a page for each image, all of the same size."""
    gap = order.gap_px if order.layout == "pdf" else 0
    image_px = max(each.image.height for each in panels)
    title = wrapped(order.title, cell_px, _letters_px(cell_px, *_TITLE)) if order.title else None
    width = cell_px + 2 * gap
    title_px = title.height_px + _CAPTION_GAP_PX if title else 0
    height = title_px + max(each.height_px(image_px) for each in panels) + 2 * gap
    require_size(width, height)
    if width * height * len(panels) > IMAGE_MAX_PX:
        raise Refused(f"all pages together would have more than {IMAGE_MAX_PX} pixels; use a smaller cell_px")
    pages = []
    for panel in panels:
        page = flattened(_canvas((width, height), ground), (255, 255, 255, 255))
        if title:
            draw_block(page, title, gap, gap, width - 2 * gap, _ink(ground))
        _draw_panel(page, panel, (gap, gap + title_px), (width - 2 * gap, image_px), ground)
        pages.append(page)
    buffer = BytesIO()
    if order.layout == "gif":
        pages[0].save(buffer, "GIF", save_all=True, append_images=pages[1:], duration=order.frame_ms, loop=0)
    else:
        pages[0].save(
            buffer, "PDF", save_all=True, append_images=pages[1:], resolution=_PDF_DPI,
            title=drawable(order.title or ""), creationDate=_PDF_TIME, modDate=_PDF_TIME,
        )  # fmt: skip
    return {**write_file(folder, save_as, buffer.getvalue(), width, height), "pages": len(pages)}

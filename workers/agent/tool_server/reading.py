"""Finds a text on an image that was drawn in the built-in font, by normalised cross-correlation with its words.

This reads nothing else: neither other fonts, nor text whose size was changed after it was drawn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from workers.agent.tool_server.errors import Refused
from workers.agent.tool_server.folder import Folder
from workers.agent.tool_server.images import flattened, read_image
from workers.agent.tool_server.lettering import SIZES_PX, drawable, font, line_height_px, space_px, word_px

Floats = npt.NDArray[np.float64]
TEXT_MAX_CHARS = 300
_LIKENESS_MIN = 0.93
_CONTRAST_MIN = 6.0
"""Where levels differ by less (standard deviation), there is no text."""
_PATCH = (3, 3)
_WRONG_MAX = 0.15
"""Of the contrast between letters and ground, on average over a patch; JPEG at a good quality leaves about 0.1."""
_TILE_PX = 1024
_HITS_MAX = 4000
_OFF_PX = 2
_WHITE = (255, 255, 255, 255)


@dataclass(frozen=True)
class _Hit:
    """Where a word stands."""

    x: int
    y: int


def find_text(folder: Folder, name: str, text: str) -> dict[str, Any]:
    """Whether ``text`` stands on an image, its words one after another, also on several lines.

    Raises:
        Refused: the image cannot be read, or the text is empty.
    """
    words = drawable(text).split()
    if not words:
        raise Refused("text must have a word in it")
    levels = np.asarray(flattened(read_image(folder, name), _WHITE).convert("L"), dtype=np.float64)
    for size_px in SIZES_PX:
        place = _place(levels, words, size_px)
        if place is not None:
            return {"found": True, "letters_px": size_px, "x": place.x, "y": place.y}
    return {"found": False}


def _place(levels: Floats, words: Sequence[str], size_px: int) -> _Hit | None:
    """Where the first of ``words`` stands, if all of them follow it in this size."""
    found: dict[str, list[_Hit]] = {}
    for word in sorted(set(words), key=len, reverse=True):  # long words are rare: most sizes are done after one
        found[word] = _hits(levels, _drawn(word, size_px))
        if not found[word]:
            return None
    starts = {hit: hit for hit in found[words[0]]}
    for word, following in zip(words[:-1], words[1:], strict=True):
        starts = {
            hit: start
            for previous, start in starts.items()
            for hit in found[following]
            if _follows(previous, hit, word, size_px)
        }
    return min(starts.values(), key=lambda hit: (hit.y, hit.x), default=None)


def _follows(previous: _Hit, hit: _Hit, word: str, size_px: int) -> bool:
    """Whether ``hit`` stands one space after ``word``, or on the next line."""
    if abs(hit.y - previous.y) <= _OFF_PX:
        return abs(hit.x - previous.x - word_px(word, size_px) - space_px(size_px)) <= _OFF_PX
    return abs(hit.y - previous.y - line_height_px(size_px)) <= _OFF_PX


def _drawn(word: str, size_px: int) -> Floats:
    """The levels of a word with most of a space on both sides, so that no part of a longer word is taken for it."""
    margin = space_px(size_px) - 1
    size = word_px(word, size_px) + 2 * margin, sum(font(size_px).getmetrics())
    image = Image.new("L", size, 0)
    ImageDraw.Draw(image).text((margin, 0), word, font=font(size_px), fill=255)
    return np.asarray(image, dtype=np.float64)


def _hits(levels: Floats, word: Floats) -> list[_Hit]:
    """The places where the levels are those of ``word``, light on dark or dark on light."""
    found: list[_Hit] = []
    for top, left, tile in _tiles(levels, (word.shape[0], word.shape[1])):
        rows, columns = np.nonzero(np.abs(_correlation(tile, word)) >= _LIKENESS_MIN)
        places = list(zip(rows.tolist(), columns.tolist(), strict=True))[:_HITS_MAX]
        found += [_Hit(x + left, y + top) for y, x in places if _has_all_letters(tile, word, x, y)]
    return found


def _has_all_letters(tile: Floats, word: Floats, x: int, y: int) -> bool:
    """Whether what is at this place differs nowhere from ``word`` by as much as another letter does.

    The correlation of a long word hardly falls with one wrong letter, so small patches are looked at one by one.
    """
    window = tile[y : y + word.shape[0], x : x + word.shape[1]]
    pattern = word - word.mean()
    scale = ((window - window.mean()) * pattern).sum() / (pattern**2).sum()
    wrong = np.abs(window - window.mean() - scale * pattern)
    return bool(_window_sums(wrong, _PATCH).max() < _WRONG_MAX * abs(scale) * word.max() * _PATCH[0] * _PATCH[1])


def _tiles(levels: Floats, size: tuple[int, int]) -> Iterator[tuple[int, int, Floats]]:
    """Parts of the image that overlap by the size of a word, and that have something on them."""
    height, width = size
    tile = max(_TILE_PX, 2 * width)
    for top in range(0, max(1, levels.shape[0] - height + 1), tile - height + 1):
        for left in range(0, max(1, levels.shape[1] - width + 1), tile - width + 1):
            part = levels[top : top + tile, left : left + tile]
            if part.shape[0] >= height and part.shape[1] >= width and np.ptp(part) > _CONTRAST_MIN:
                yield top, left, part


def _correlation(tile: Floats, word: Floats) -> Floats:
    """The normalised cross-correlation for each place of ``word`` on ``tile`` (Lewis, 1995): -1 to 1."""
    height, width = word.shape
    centered, pattern = tile - tile.mean(), word - word.mean()
    products = np.fft.irfft2(
        np.fft.rfft2(centered) * np.conj(np.fft.rfft2(pattern, tile.shape)), tile.shape
    )[: tile.shape[0] - height + 1, : tile.shape[1] - width + 1]  # fmt: skip
    count = word.size
    sums, squares = _window_sums(centered, word.shape), _window_sums(centered**2, word.shape)
    spread = np.sqrt(np.maximum(squares - sums**2 / count, 0.0))
    norm = float(np.sqrt((pattern**2).sum()))
    likeness: Floats = np.where(
        spread > _CONTRAST_MIN * np.sqrt(count), products / np.maximum(spread * norm, 1e-9), 0.0
    )  # fmt: skip
    return likeness


def _window_sums(levels: Floats, size: tuple[int, ...]) -> Floats:
    height, width = size
    total = np.zeros((levels.shape[0] + 1, levels.shape[1] + 1))
    total[1:, 1:] = levels.cumsum(0).cumsum(1)
    sums: Floats = total[height:, width:] - total[:-height, width:] - total[height:, :-width] + total[:-height, :-width]
    return sums

"""Finds a text on an image that was drawn in the built-in font, by normalised cross-correlation with its words.

This reads nothing else: neither other fonts, nor text whose size was changed after it was drawn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from workers.agent.tool_server.errors import Refused
from workers.agent.tool_server.folder import Folder
from workers.agent.tool_server.images import flattened, read_image
from workers.agent.tool_server.lettering import SIZES_PX, drawable, font, line_height_px, space_px, word_px

Floats = npt.NDArray[np.floating[Any]]
TEXT_MAX_CHARS = 300
_LIKENESS_MIN = 0.93
_CONTRAST_MIN = 6.0
"""Where levels differ by less (standard deviation), there is no text."""
_PATCH = (3, 3)
_WRONG_MAX = 0.15
"""Of the contrast between letters and ground, on average over a patch; JPEG at a good quality leaves about 0.1."""
_TILE = (1024, 2048)
_OVERLAP = (64, 640)
"""Height and width in pixels: tiles overlap by the largest word that is looked for."""
_FAST_PX = 32
"""Fourier transforms of multiples of it are fast."""
_HITS_MAX = 4000
_OFF_PX = 2
_WHITE = (255, 255, 255, 255)


@dataclass(frozen=True)
class _Hit:
    """Where a word stands."""

    x: int
    y: int


class _Tile:
    """A part of an image, with what each search in it needs."""

    def __init__(self, levels: Floats, top: int, left: int) -> None:
        self.levels, self.top, self.left = levels, top, left
        centered = levels - levels.mean()
        self._size = tuple(-(-side // _FAST_PX) * _FAST_PX for side in levels.shape)
        self._waves = np.fft.rfft2(centered, self._size)
        self._sums, self._squares = _integral(centered), _integral(centered**2)

    def hits(self, word: Floats) -> Iterator[_Hit]:
        """The places where the levels are those of ``word``, light on dark or dark on light."""
        if word.shape[0] > self.levels.shape[0] or word.shape[1] > self.levels.shape[1]:
            return
        places = np.argwhere(np.abs(self._correlation(word)) >= _LIKENESS_MIN)[:_HITS_MAX]
        for y, x in places.tolist():
            if _has_all_letters(self.levels[y : y + word.shape[0], x : x + word.shape[1]], word):
                yield _Hit(x + self.left, y + self.top)

    def _correlation(self, word: Floats) -> Floats:
        """The normalised cross-correlation for each place of ``word`` on the tile (Lewis, 1995): -1 to 1."""
        pattern = word - word.mean()
        products = np.fft.irfft2(self._waves * np.conj(np.fft.rfft2(pattern, self._size)), self._size)
        rows, columns = (side - of_word + 1 for side, of_word in zip(self.levels.shape, word.shape, strict=True))
        sums, squares = _window_sums(self._sums, word.shape), _window_sums(self._squares, word.shape)
        spread = np.sqrt(np.maximum(squares - sums**2 / word.size, 0.0))
        norm = float(np.sqrt((pattern**2).sum()))
        is_text = spread > _CONTRAST_MIN * np.sqrt(word.size)
        return np.where(is_text, products[:rows, :columns] / np.maximum(spread * norm, 1e-9), 0.0)


def find_text(folder: Folder, name: str, text: str) -> dict[str, Any]:
    """Whether ``text`` stands on an image, its words one after another, also on several lines.

    Raises:
        Refused: the image cannot be read, or the text is empty.
    """
    words = drawable(text).split()
    if not words:
        raise Refused("text must have a word in it")
    levels = np.asarray(flattened(read_image(folder, name), _WHITE).convert("L"), dtype=np.float32)
    tiles = list(_tiles(levels))
    for size_px in SIZES_PX:
        place = _place(tiles, words, size_px)
        if place is not None:
            return {"found": True, "letters_px": size_px, "x": place.x, "y": place.y}
    return {"found": False}


def _place(tiles: Sequence[_Tile], words: Sequence[str], size_px: int) -> _Hit | None:
    """Where the first of ``words`` stands, if all of them follow it in this size."""
    found: dict[str, list[_Hit]] = {}
    for word in sorted(set(words), key=len, reverse=True):  # long words are rare: most sizes are done after one
        drawn = _drawn(word, size_px)
        found[word] = [hit for tile in tiles for hit in tile.hits(drawn)][:_HITS_MAX]
        if not found[word]:
            return None
    starts = {hit: hit for hit in found[words[0]]}
    for word, following in pairwise(words):
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
    return np.asarray(image, dtype=np.float32)


def _has_all_letters(window: Floats, word: Floats) -> bool:
    """Whether ``window`` differs nowhere from ``word`` by as much as another letter does.

    The correlation of a long word hardly falls with one wrong letter, so small patches are looked at one by one.
    """
    pattern, centered = word - word.mean(), window - window.mean()
    scale = (centered * pattern).sum() / (pattern**2).sum()
    wrong = _window_sums(_integral(np.abs(centered - scale * pattern)), _PATCH)
    return bool(wrong.max() < _WRONG_MAX * abs(scale) * word.max() * _PATCH[0] * _PATCH[1])


def _tiles(levels: Floats) -> Iterator[_Tile]:
    """All parts of an image that have something on them."""
    (height, width), (rows, columns) = _TILE, _OVERLAP
    for top in range(0, max(1, levels.shape[0] - rows), height - rows):
        for left in range(0, max(1, levels.shape[1] - columns), width - columns):
            part = levels[top : top + height, left : left + width]
            if np.ptp(part) > _CONTRAST_MIN:
                yield _Tile(part, top, left)


def _integral(levels: Floats) -> Floats:
    """The sums of all levels above and left of each place."""
    total = np.zeros((levels.shape[0] + 1, levels.shape[1] + 1))
    total[1:, 1:] = levels.cumsum(0, dtype=np.float64).cumsum(1)
    return total


def _window_sums(total: Floats, size: tuple[int, ...]) -> Floats:
    """The sum of each window of ``size``, from :func:`_integral`."""
    height, width = size
    sums: Floats = total[height:, width:] - total[:-height, width:] - total[height:, :-width] + total[:-height, :-width]
    return sums

"""Text on images, in Pillow's built-in font: wrapped between words, and drawn word by word at whole pixels.

So the same word has the same pixels wherever it stands, by which :mod:`workers.agent.tool_server.reading` finds it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from PIL import Image, ImageDraw, ImageFont

SIZES_PX = (12, 14, 16, 20, 24, 32, 40)
"""The sizes of letters that are drawn, and looked for."""
_NO_SUCH_GLYPH = "\uffff"
_UNKNOWN = "?"
_LIKENESSES = {
    "\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2013": "-", "\u2014": "-", "\u2022": "*",
    "\u00df": "ss", "\u00e6": "ae", "\u00c6": "Ae", "\u00f8": "o", "\u00d8": "O", "\u0153": "oe", "\u00d7": "x",
}  # fmt: skip


@dataclass(frozen=True)
class Block:
    """A text, wrapped."""

    lines: tuple[tuple[str, ...], ...]
    """The words of each line."""
    size_px: int

    @property
    def height_px(self) -> int:
        """All lines."""
        return len(self.lines) * line_height_px(self.size_px)


@cache
def font(size_px: int) -> ImageFont.FreeTypeFont:
    """The built-in font."""
    found = ImageFont.load_default(size_px)
    assert isinstance(found, ImageFont.FreeTypeFont)  # Pillow is built with FreeType
    return found


@cache
def line_height_px(size_px: int) -> int:
    """From one line to the next."""
    ascent, descent = font(size_px).getmetrics()
    return ascent + descent + size_px // 6


@cache
def space_px(size_px: int) -> int:
    """Between two words."""
    return max(1, round(font(size_px).getlength(" ")))


def word_px(word: str, size_px: int) -> int:
    """How wide a word is drawn."""
    return round(font(size_px).getlength(word))


def line_px(words: Sequence[str], size_px: int) -> int:
    """How wide a line is drawn."""
    return sum(word_px(word, size_px) for word in words) + space_px(size_px) * max(0, len(words) - 1)


def wrapped(text: str, width_px: int, size_px: int) -> Block:
    """``text`` in lines of at most ``width_px``, in the largest size up to ``size_px`` that holds its longest word.

    A word that is too long even in the smallest size is broken.
    """
    words = drawable(text).split()
    sizes = [each for each in reversed(SIZES_PX) if each <= size_px] or [SIZES_PX[0]]
    chosen = next((each for each in sizes if all(word_px(word, each) <= width_px for word in words)), sizes[-1])
    pieces = [piece for word in words for piece in _pieces(word, width_px, chosen)]
    lines: list[list[str]] = []
    for piece in pieces:
        if lines and line_px([*lines[-1], piece], chosen) <= width_px:
            lines[-1].append(piece)
        else:
            lines.append([piece])
    return Block(tuple(map(tuple, lines)), chosen)


def _pieces(word: str, width_px: int, size_px: int) -> list[str]:
    if word_px(word, size_px) <= width_px:
        return [word]
    pieces = [""]
    for char in word:
        if pieces[-1] and word_px(pieces[-1] + char, size_px) > width_px:
            pieces.append("")
        pieces[-1] += char
    return pieces


def draw_block(image: Image.Image, block: Block, left: int, top: int, width_px: int, ink: tuple[int, int, int]) -> None:
    """Draw ``block``, each line in the middle of ``width_px``."""
    draw = ImageDraw.Draw(image)
    for words in block.lines:
        x = left + (width_px - line_px(words, block.size_px)) // 2
        for word in words:
            draw.text((x, top), word, font=font(block.size_px), fill=ink)
            x += word_px(word, block.size_px) + space_px(block.size_px)
        top += line_height_px(block.size_px)


def drawable(text: str) -> str:
    """``text`` in the characters that the font has: letters lose their accents, and others become "?"."""
    return "".join(_drawable(char) for char in text)


@cache
def _drawable(char: str) -> str:
    if char.isspace():
        return " "
    if _has(char):
        return char
    likeness = _LIKENESSES.get(char) or "".join(part for part in unicodedata.normalize("NFKD", char) if _has(part))
    return likeness or ("" if unicodedata.combining(char) else _UNKNOWN)


def _has(char: str) -> bool:
    return unicodedata.category(char)[0] not in "CM" and _shape(char) != _shape(_NO_SUCH_GLYPH)


@cache
def _shape(char: str) -> tuple[tuple[int, int], bytes]:
    mask = font(SIZES_PX[3]).getmask(char)
    return mask.size, bytes(mask)

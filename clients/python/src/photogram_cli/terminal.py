"""An image in the terminal: by the protocols of kitty and iTerm2, as sixels, else as half blocks in its colours."""

import base64
import io
import itertools
import os
from collections.abc import Mapping

from rich.color import Color
from rich.console import Console
from rich.style import Style
from rich.text import Text

_COLUMNS = 40
"""The width of an image in character cells; a cell is about twice as high as wide."""
_CHUNK = 4096
_KITTY = ("xterm-kitty", "xterm-ghostty")
_ITERM = ("iTerm.app", "WezTerm")
_SIXEL = ("foot", "mlterm", "yaft", "contour", "sixel")
"""How the names of terminals that have sixels begin, or end."""
_SIXEL_PX, _SIXEL_COLOURS = 360, 256


def show(png: bytes, console: Console, environment: Mapping[str, str] = os.environ) -> None:
    """Print the image on a terminal; on anything else, and on a terminal without colours, print nothing.

    Sixels and half blocks need Pillow; without it they are left out. Protocols:
    https://sw.kovidgoyal.net/kitty/graphics-protocol, https://iterm2.com/documentation-images.html, and DEC's STD 070
    for sixels.
    """
    if not console.is_terminal or console.is_dumb_terminal:
        return
    is_multiplexed = "TMUX" in environment or environment.get("TERM", "").startswith(("screen", "tmux"))
    if not is_multiplexed and environment.get("TERM") in _KITTY:
        _write(console, _kitty(png))
    elif not is_multiplexed and environment.get("TERM_PROGRAM") in _ITERM:
        _write(console, _iterm(png))
    elif not is_multiplexed and _has_sixels(environment.get("TERM", "")):
        _write(console, _sixels(png))
    elif console.color_system is not None:
        _print_half_blocks(png, console)


def _write(console: Console, text: str) -> None:
    console.file.write(f"{text}\n")
    console.file.flush()


def _kitty(png: bytes) -> str:
    data = base64.b64encode(png).decode()
    chunks = [data[start : start + _CHUNK] for start in range(0, len(data), _CHUNK)]
    heads = [f"a=T,f=100,q=2,c={_COLUMNS},", *[""] * (len(chunks) - 1)]
    more = [1] * (len(chunks) - 1) + [0]
    return "".join(
        f"\x1b_G{head}m={is_more};{chunk}\x1b\\" for head, is_more, chunk in zip(heads, more, chunks, strict=True)
    )


def _iterm(png: bytes) -> str:
    data = base64.b64encode(png).decode()
    return f"\x1b]1337;File=inline=1;size={len(png)};width={_COLUMNS}:{data}\x07"


def _has_sixels(terminal: str) -> bool:
    return terminal.startswith(_SIXEL) or terminal.endswith(_SIXEL)


def _sixels(png: bytes) -> str:
    """Six rows of pixels at a time, a line of each band for each colour in it."""
    try:
        from PIL import Image
    except ImportError:
        return ""
    with Image.open(io.BytesIO(png)) as image:
        height = max(1, round(_SIXEL_PX * image.height / image.width))
        small = image.convert("RGB").resize((_SIXEL_PX, height), Image.Resampling.LANCZOS).quantize(_SIXEL_COLOURS)
        palette, pixels = small.getpalette() or [], small.tobytes()
    colours = "".join(
        f"#{index};2;" + ";".join(str(round(value / 2.55)) for value in palette[3 * index : 3 * index + 3])
        for index in sorted(set(pixels))
    )
    bands = (pixels[start : start + 6 * _SIXEL_PX] for start in range(0, len(pixels), 6 * _SIXEL_PX))
    return f'\x1bPq"1;1;{_SIXEL_PX};{height}{colours}{"-".join(map(_band, bands))}\x1b\\'


def _band(band: bytes) -> str:
    """Each colour's line: a character for each column, whose bits are the rows with that colour, the top one lowest."""
    lines: dict[int, bytearray] = {}
    for place, colour in enumerate(band):
        row, column = divmod(place, _SIXEL_PX)
        lines.setdefault(colour, bytearray(_SIXEL_PX))[column] |= 1 << row
    return "$".join(f"#{colour}" + _run_lengths(bytes(bits)) for colour, bits in lines.items())


def _run_lengths(bits: bytes) -> str:
    runs = ((chr(63 + value), len(list(same))) for value, same in itertools.groupby(bits))
    return "".join(f"!{count}{each}" if count > 3 else each * count for each, count in runs)


def _print_half_blocks(png: bytes, console: Console) -> None:
    """Two pixels a cell: the upper half in the foreground's colour, the lower one in the background's."""
    try:
        from PIL import Image
    except ImportError:
        return
    with Image.open(io.BytesIO(png)) as image:
        columns = min(_COLUMNS, console.width)
        rows = max(1, round(columns * image.height / image.width / 2))
        pixels = image.convert("RGB").resize((columns, 2 * rows), Image.Resampling.LANCZOS).tobytes()
    for row in range(rows):
        cells = Text(no_wrap=True)
        for column in range(columns):
            upper, lower = (_colour(pixels, 3 * ((2 * row + half) * columns + column)) for half in (0, 1))
            cells.append("▀", Style(color=upper, bgcolor=lower))
        console.print(cells)


def _colour(pixels: bytes, start: int) -> Color:
    return Color.from_rgb(*pixels[start : start + 3])

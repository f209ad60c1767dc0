"""An image in the terminal: by the protocols of kitty and iTerm2, else as half blocks in the terminal's colours."""

import base64
import io
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


def show(png: bytes, console: Console, environment: Mapping[str, str] = os.environ) -> None:
    """Print the image on a terminal; on anything else, and on a terminal without colours, print nothing.

    Half blocks need Pillow; without it they are left out. Protocols: https://sw.kovidgoyal.net/kitty/graphics-protocol
    and https://iterm2.com/documentation-images.html.
    """
    if not console.is_terminal or console.is_dumb_terminal:
        return
    is_multiplexed = "TMUX" in environment or environment.get("TERM", "").startswith(("screen", "tmux"))
    if not is_multiplexed and environment.get("TERM") in _KITTY:
        _write(console, _kitty(png))
    elif not is_multiplexed and environment.get("TERM_PROGRAM") in _ITERM:
        _write(console, _iterm(png))
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

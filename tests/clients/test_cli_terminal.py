"""Images in the terminal: kitty, iTerm2, half blocks, and nothing where none can be."""

import base64
import io
import re

import pytest
from photogram_cli.terminal import show
from PIL import Image
from rich.console import Console


def png(upper: str = "#ff0000", lower: str = "#00ff00") -> bytes:
    """Two colours, 80 x 40 px."""
    image = Image.new("RGB", (80, 40), upper)
    image.paste(lower, (0, 20, 80, 40))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def shown(data: bytes, *, is_terminal: bool = True, colours: str | None = "truecolor", **environment: str) -> str:
    file = io.StringIO()
    terminal = {"TERM": "xterm-256color"} | environment
    console = Console(file=file, force_terminal=is_terminal, color_system=colours, width=100, _environ=terminal)
    show(data, console, terminal)
    return file.getvalue()


def test_kitty_gets_the_file_in_chunks():
    data = png() + bytes(8000)
    chunks = re.findall(r"\x1b_G(.*?);(.*?)\x1b\\", shown(data, TERM="xterm-kitty"))
    assert base64.b64decode("".join(text for _, text in chunks)) == data
    assert all(len(text) <= 4096 for _, text in chunks)
    assert [head for head, _ in chunks] == ["a=T,f=100,q=2,c=40,m=1", "m=1", "m=0"]


def test_iterm_gets_the_file():
    text = shown(png(), TERM_PROGRAM="iTerm.app")
    assert base64.b64decode(text.removesuffix("\x07\n").rpartition(":")[2]) == png() and text.startswith("\x1b]1337;")


def test_foot_gets_sixels():
    """Red above green: bands of six rows of 360 columns."""
    text = shown(png(), TERM="foot")
    assert text.startswith('\x1bPq"1;1;360;180#0;2;') and text.endswith("\x1b\\\n")
    palette = dict(re.findall(r"#(\d+);2;(\d+;\d+;\d+)", text))
    bands = text[text.rindex(";") :].removesuffix("\x1b\\\n").split("-")
    first, last = (re.findall(r"#(\d+)!360~", band) for band in (bands[0], bands[-1]))
    assert len(bands) == 30 and palette[last[0]] == "0;100;0"
    assert palette[first[0]] == "100;0;0"


@pytest.mark.parametrize("environment", [{}, {"TERM": "screen", "TERM_PROGRAM": "WezTerm"}, {"TMUX": "x"}])
def test_others_get_half_blocks(environment: dict[str, str]):
    lines = shown(png(), **environment).splitlines()
    assert len(lines) == 10 and all(line.count("▀") == 40 for line in lines)
    assert "38;2;255;0;0;48;2;255;0;0" in lines[0] and "38;2;0;255;0;48;2;0;255;0" in lines[-1]


def test_fewer_colours_are_used_where_there_are_no_more():
    unused = png("#123456", "#654321")  # rich keeps the codes of a style, whatever the console
    assert "38;5;" in (text := shown(unused, colours="256")) and "38;2;" not in text


@pytest.mark.parametrize("case", [{"is_terminal": False, "TERM": "xterm-kitty"}, {"colours": None}, {"TERM": "dumb"}])
def test_nothing_is_printed_where_no_image_can_be(case: dict[str, object]):
    assert shown(png(), **case) == ""

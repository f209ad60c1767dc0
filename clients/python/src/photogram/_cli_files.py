"""The files of the command line: where an image goes and in which format, and texts and images from standard input."""

import itertools
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ._images import ImageSource

STANDARD = "-"
DEFAULT_FILE = "photogram.png"
FORMATS = {".png": "png", ".jpg": "jpg", ".jpeg": "jpg", ".jpe": "jpg", ".webp": "webp", "": "png"}
"""The format by the extension of the file, in lower case; a name without extension means PNG."""
_SOURCES = ("http://", "https://", "input:", "image:", "data:")


@dataclass(frozen=True)
class Output:
    """Where an image is written: a file, or standard output, which is always PNG."""

    path: Path | None
    replaces: bool = False
    """Whether a file of that name may be overwritten."""

    def __str__(self) -> str:
        return STANDARD if self.path is None else str(self.path)

    @property
    def file_format(self) -> str:
        return "png" if self.path is None else FORMATS[self.path.suffix.lower()]

    def write(self, data: bytes) -> "Output":
        """Write the encoded image, and return where it is; raises OSError.

        If a file of that name has appeared since the start of the job, the image gets the next free name.
        """
        if self.path is None:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
            return self
        if self.replaces:
            self.path.write_bytes(data)
            return self
        return replace(self, path=_write_new(self.path, data))


def _write_new(path: Path, data: bytes) -> Path:
    for name in _numbered(path):
        try:
            with name.open("xb") as file:
                file.write(data)
        except FileExistsError:
            continue
        return name
    raise AssertionError("the numbers do not end")


def _numbered(path: Path) -> Iterator[Path]:
    """`a.png`, `a-2.png`, `a-3.png` and so on."""
    yield path
    yield from (path.with_stem(f"{path.stem}-{number}") for number in itertools.count(2))


def output_of(text: str | None, as_json: bool, *, overwrite: bool = False) -> Output:
    """The output that `-o` names; without a name, the first of `photogram.png`, `photogram-2.png` ... that is free.

    It is checked before the job, so that nobody waits for an image that cannot be saved. A file that exists is replaced
    only with `overwrite`. Raises ValueError for a name that cannot be right, OSError for a place that cannot be
    written.
    """
    if text is None:
        return _default_output(overwrite)
    if text == STANDARD:
        if as_json:
            raise ValueError("--json prints to standard output: write the image to a file")
        if sys.stdout.isatty():
            raise ValueError("standard output is a terminal: write the image to a file, or pipe it to a program")
        return Output(None)
    return _checked(Path(text), overwrite)


def _default_output(overwrite: bool) -> Output:
    names = _numbered(Path(DEFAULT_FILE))
    return (
        Output(next(names), replaces=True) if overwrite else Output(next(each for each in names if not each.exists()))
    )


def _checked(path: Path, overwrite: bool) -> Output:
    if path.suffix.lower() not in FORMATS:
        known = ", ".join(each for each in FORMATS if each)
        raise ValueError(f"{path}: the format {path.suffix!r} is not known; the extensions are {known}")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a directory, not a file to write")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the directory {path.parent} does not exist")
    if path.is_file() and not overwrite:
        raise FileExistsError(f"{path} exists: choose another name, or add --overwrite")
    return Output(path, replaces=overwrite or path.exists())  # what exists and is no file is a device or a pipe


def text_of(argument: str) -> str:
    """The text of an argument; `-` reads standard input. Raises ValueError if that is no UTF-8."""
    if argument != STANDARD:
        return argument
    try:
        return sys.stdin.buffer.read().decode().rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"standard input is not UTF-8 text: {error}") from error


def image_of(argument: str) -> ImageSource:
    """The image of an argument: a file, `-` for standard input, or a source that the server resolves."""
    if argument == STANDARD:
        return sys.stdin.buffer.read()
    return argument if argument.lower().startswith(_SOURCES) else Path(argument)


def check_one_standard_input(*arguments: str | None) -> None:
    """Raise ValueError if several of `arguments` are `-`: standard input can be read once."""
    if sum(each == STANDARD for each in arguments) > 1:
        raise ValueError("only one argument can be -, which reads standard input")

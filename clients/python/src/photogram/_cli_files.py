"""The files of the command line: where an image goes and in which format, and texts and images from standard input."""

import sys
from dataclasses import dataclass
from pathlib import Path

from ._images import ImageSource

STANDARD = "-"
FORMATS = {".png": "png", ".jpg": "jpg", ".jpeg": "jpg", ".jpe": "jpg", ".webp": "webp", "": "png"}
"""The format by the extension of the file, in lower case; a name without extension means PNG."""
_SOURCES = ("http://", "https://", "input:", "image:", "data:")


@dataclass(frozen=True)
class Output:
    """Where an image is written: a file, or standard output, which is always PNG."""

    path: Path | None

    def __str__(self) -> str:
        return STANDARD if self.path is None else str(self.path)

    @property
    def file_format(self) -> str:
        return "png" if self.path is None else FORMATS[self.path.suffix.lower()]

    def write(self, data: bytes) -> None:
        """Write the encoded image; raises OSError."""
        if self.path is not None:
            self.path.write_bytes(data)
            return
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


def output_of(text: str, as_json: bool) -> Output:
    """The output that `-o` names.

    It is checked before the job, so that nobody waits for an image that cannot be saved. Raises ValueError for a name
    that cannot be right, OSError for a place that cannot be written.
    """
    if text == STANDARD:
        if as_json:
            raise ValueError("--json prints to standard output: write the image to a file")
        if sys.stdout.isatty():
            raise ValueError("standard output is a terminal: write the image to a file, or pipe it to a program")
        return Output(None)
    path = Path(text)
    if path.suffix.lower() not in FORMATS:
        known = ", ".join(each for each in FORMATS if each)
        raise ValueError(f"{path}: the format {path.suffix!r} is not known; the extensions are {known}")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a directory, not a file to write")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the directory {path.parent} does not exist")
    return Output(path)


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

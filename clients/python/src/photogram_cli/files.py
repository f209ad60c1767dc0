"""The files of the command line: where images go and in which format, and texts and images from standard input."""

import itertools
import string
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from photogram import ImageSource

STANDARD = "-"
DEFAULT_FILE = "photogram.png"
PLACEHOLDERS = ("seed", "job", "model", "number")
"""What `{...}` in the name of an image file may be; `number` counts the images of the command from 1."""
_SOURCES = ("http://", "https://", "input:", "image:", "data:")


@dataclass(frozen=True)
class Output:
    """Where images are written: a file, a name with placeholders, or standard output, which is always PNG."""

    path: Path | None
    replaces: bool = False
    """Whether a file of that name may be overwritten."""

    def __str__(self) -> str:
        return STANDARD if self.path is None else str(self.path)

    @property
    def takes_one(self) -> bool:
        """Whether several images would be joined together: standard output, a device or a pipe."""
        return self.path is None or (self.path.exists() and not self.path.is_file())

    @property
    def file_format(self) -> str:
        from photogram._formats import format_of

        return "png" if self.path is None else format_of(self.path)

    def named(self, values: Mapping[str, object]) -> "Output":
        """The place of one image, whose placeholders have `values`; further images without one are numbered."""
        if self.path is None:
            return self
        if _fields_of(str(self.path)):
            return replace(self, path=Path(str(self.path).format_map(_Named(values))))
        number = values["number"]
        if number == 1 or not self.replaces or not self.path.is_file():
            return self
        return replace(self, path=numbered(self.path, number))

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


class _Named(dict[str, object]):
    """Values of placeholders, as parts of a name of a file."""

    def __getitem__(self, name: str) -> str:
        return "".join(each if each.isalnum() or each in "-_." else "-" for each in str(super().__getitem__(name)))


def _fields_of(name: str) -> list[str]:
    try:
        return [field for _, field, _, _ in string.Formatter().parse(name) if field is not None]
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


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
    yield from (numbered(path, number) for number in itertools.count(2))


def numbered(path: Path, number: object) -> Path:
    """The name of a further image of `path`: `a-2.png`."""
    return path.with_stem(f"{path.stem}-{number}")


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
    from photogram._formats import format_of

    format_of(path)
    for field in _fields_of(str(path)):
        if field not in PLACEHOLDERS:
            known = ", ".join(f"{{{each}}}" for each in PLACEHOLDERS)
            raise ValueError(f"{path}: {{{field}}} is none of {known}")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a directory, not a file to write")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the directory {path.parent} does not exist")
    if path.is_file() and not overwrite:
        raise FileExistsError(f"{path} exists: choose another name, or add --overwrite")
    return Output(path, replaces=overwrite or path.exists())  # what exists and is no file is a device or a pipe


def check_folder(name: str) -> None:
    """Raise NotADirectoryError, before anything is sent, if there is no folder to write files into."""
    if not Path(name).is_dir():
        raise NotADirectoryError(f"{name} is no folder")


def text_of(argument: str) -> str:
    """The text of an argument; `-` reads standard input. Raises ValueError if that is no UTF-8."""
    if argument != STANDARD:
        return argument
    try:
        return sys.stdin.buffer.read().decode().rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"standard input is not UTF-8 text: {error}") from error


def is_source(argument: str) -> bool:
    """Whether an argument names an image that the server resolves, and no file."""
    return argument.lower().startswith(_SOURCES)


def image_of(argument: str) -> "ImageSource":
    """The image of an argument: a file, `-` for standard input, or a source that the server resolves.

    A folder is given on as it is: the client packs it where it may be a data set, and refuses it where it is no image.
    Raises OSError, and ValueError for an empty file.
    """
    if is_source(argument):
        return argument
    if argument != STANDARD and Path(argument).is_dir():
        return Path(argument)
    from photogram._images import file_bytes

    data = sys.stdin.buffer.read() if argument == STANDARD else file_bytes(argument)
    if not data:
        raise ValueError(f"{'standard input' if argument == STANDARD else argument} is empty, and no image")
    return data


def check_one_standard_input(*arguments: str | None) -> None:
    """Raise ValueError if several of `arguments` are `-`: standard input can be read once."""
    if sum(each == STANDARD for each in arguments) > 1:
        raise ValueError("only one argument can be -, which reads standard input")

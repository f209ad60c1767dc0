"""The rows of a table of jobs: a CSV file with a header, or a JSON object in each line."""

import csv
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .files import is_source, numbered
from .parameters import KINDS, OPTIONS
from .texts import is_text

ROWS_MAX = 100_000
FILE_NAME_MAX_BYTES = 255
KEPT_MAX = 16
"""The most images that a server keeps of a job; it refuses a row that asks for more."""
_OWN_COLUMNS = ("kind", "file")
_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


@dataclass(frozen=True, slots=True)
class Row:
    """One row: the job, and the name of its file without a folder."""

    number: int
    kind: str
    params: Mapping[str, Any]
    """With the absolute paths of images as paths."""
    options: Mapping[str, Any]
    file: str

    @property
    def files(self) -> list[str]:
        """The names of all images that the row keeps."""
        keep = self.params.get("keep")
        return [self.file_of(number) for number in range(1, min(keep if isinstance(keep, int) else 1, KEPT_MAX) + 1)]

    def file_of(self, number: int) -> str:
        """The name of one image of the row: `cat.png`, `cat-2.png` and so on, as `photogram generate` has them."""
        return self.file if number == 1 else str(numbered(Path(self.file), number))

    @property
    def job_id(self) -> str:
        """The same for the same row of the same file, so that a job that runs already is found again."""
        content = json.dumps(
            [self.number, self.kind, self.params, self.options, self.file], sort_keys=True, default=str
        )
        return "batch-" + hashlib.sha256(content.encode()).hexdigest()[:32]


def read_rows(table: Path) -> Iterator[Row]:
    """The rows of a table; raises ValueError for one that is no job, and OSError.

    A column is a parameter (`mask.image` is one of an object), an option of jobs, `kind`, or `file`.
    """
    number, files = 0, dict[str, int]()
    for number, values in enumerate(_values(table), 1):
        if number > ROWS_MAX:
            raise ValueError(f"{table} has more than {ROWS_MAX} rows")
        try:
            row = _row(number, values, table)
        except ValueError as error:
            raise ValueError(f"{table}, row {number}: {error}") from error
        for file in row.files:
            if (first := files.setdefault(file.casefold(), number)) != number:
                raise ValueError(f"{table}, row {number}: {file!r} is the file of row {first}")
        yield row
    if number == 0:
        raise ValueError(f"{table} has no rows")


def _values(table: Path) -> Iterator[Mapping[str, Any]]:
    read = _csv_values if table.suffix.lower() == ".csv" else _json_values
    with table.open(encoding="utf-8-sig", newline="") as file:
        try:
            yield from read(file, table)
        except UnicodeDecodeError as error:
            raise ValueError(f"{table} is no text in UTF-8") from error


def _csv_values(file: Iterator[str], table: Path) -> Iterator[Mapping[str, Any]]:
    reader, number = csv.DictReader(file, strict=True), 0
    try:
        names = [name for name in reader.fieldnames or () if name]
        if double := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"{table} has several columns {min(double)}")
        for number, line in enumerate(reader, 1):
            if None in line:
                raise ValueError(f"{table}, row {number}: it has more cells than the header")
            yield {name: _cell(name, text) for name, text in line.items() if name and text}
    except csv.Error as error:
        raise ValueError(f"{table}, row {number + 1}: {error}") from error


def _json_values(file: Iterator[str], table: Path) -> Iterator[Mapping[str, Any]]:
    for number, text in enumerate(file, 1):
        if text.strip():
            try:
                found = json.loads(text)
            except (ValueError, RecursionError) as error:
                raise ValueError(f"{table}, line {number}: no JSON: {error}") from error
            if not isinstance(found, dict):
                raise ValueError(f"{table}, line {number}: not a JSON object")
            yield found


def _cell(name: str, text: str) -> object:
    """The value of a cell of a CSV file: text where the parameter is text, else JSON if it is some."""
    if name in (*_OWN_COLUMNS, *_names_of("str", "image")):
        return text
    with suppress(ValueError, RecursionError):
        return json.loads(text)
    return text


def _names_of(*forms: str) -> frozenset[str]:
    """The names of parameters whose values, or whose entries, have one of these forms."""
    return frozenset(each.name for kind in KINDS for each in kind.parameters if each.form in forms)


def _row(number: int, values: Mapping[str, Any], table: Path) -> Row:
    option_names = {option.name for option in OPTIONS} - {"metadata"}
    params: dict[str, Any] = {}
    for key, value in values.items():
        if not is_text([key, value]):
            raise ValueError(f"{key!r} must be Unicode text, and has half of a surrogate pair, as \\ud800 is")
        if key not in _OWN_COLUMNS and key not in option_names:
            _set(params, key, value)
    kind = str(values.get("kind") or _implied(params))
    options = {name: values[name] for name in option_names if name in values}
    file = str(values.get("file") or f"{number:05}.png")
    found = {name: _with_files(name, value, table.parent.absolute()) for name, value in params.items()}
    row = Row(number, kind, found, options, file)
    for name in (file, *row.files):
        _check_file(name)
    return row


def _check_file(name: str) -> None:
    if Path(name).name != name or not name.isprintable() or Path(name).suffix.lower() not in _SUFFIXES:
        raise ValueError(f"{name!r} is no name of a PNG, JPEG or WebP file without a folder")
    if len(name.encode()) > FILE_NAME_MAX_BYTES:
        raise ValueError(f"the name of a file may have at most {FILE_NAME_MAX_BYTES} bytes, has {len(name.encode())}")


def _implied(params: Mapping[str, Any]) -> str:
    return "inpaint" if "mask" in params else "img2img" if "image" in params else "txt2img"


def _set(params: dict[str, Any], key: str, value: object) -> None:
    *path, name = key.split(".")
    place = params
    for each in path:
        place = place.setdefault(each, {})
        if not isinstance(place, dict):
            raise ValueError(f"{key}: {each} is no object")
    place[name] = value


def _with_files(name: str, value: object, folder: Path) -> object:
    """The value of the parameter `name`, in which the names of files beside the table are paths."""
    if isinstance(value, dict):
        return {each: _with_files(each, part, folder) for each, part in value.items()}
    if isinstance(value, list):
        return [_with_files(name, part, folder) for part in value]
    if not isinstance(value, str) or name not in ("mask", *_names_of("image")):
        return value
    return value if is_source(value) else _beside(value, folder)


def _beside(name: str, folder: Path) -> Path:
    """The path of a file in the folder of the table; others are not sent, since tables come from anywhere."""
    path = Path(os.path.normpath(folder / name.replace("\0", "")))
    if not path.is_relative_to(os.path.normpath(folder)):
        raise ValueError(f"the image {name!r} is not in the folder of the table")
    if "\0" in name or not os.path.isfile(path):
        raise ValueError(f"there is no image {name!r} in the folder of the table")
    return path

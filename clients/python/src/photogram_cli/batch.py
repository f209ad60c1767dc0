"""The command `photogram batch`: a job for each row of a file, the images into a folder; it resumes."""

import argparse
import asyncio
import csv
import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from photogram import AsyncPhotogram, Photogram, PhotogramError

from .failures import told
from .output import to_json
from .parameters import KINDS, OPTIONS

RECORD = "batch.jsonl"
"""The file in the folder that says what became of each row."""
_ROWS_MAX = 100_000
_OWN_COLUMNS = ("kind", "file")


class SomeFailed(PhotogramError):
    """Some rows have no image."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row: the job, and the name of its file without a folder."""

    number: int
    kind: str
    params: Mapping[str, Any]
    options: Mapping[str, Any]
    file: str

    @property
    def job_id(self) -> str:
        """The same for the same row of the same file, so that a job that runs already is found again."""
        content = json.dumps([self.number, self.kind, self.params, self.options, self.file], sort_keys=True)
        return "batch-" + hashlib.sha256(content.encode()).hexdigest()[:32]


def run_batch(options: argparse.Namespace, client: Photogram) -> None:
    """Run the rows that have no image yet; raises SomeFailed if some still have none."""
    if not 1 <= options.parallel <= 64:
        raise ValueError("--parallel must be from 1 to 64")
    rows = list(read_rows(Path(options.table)))
    folder = Path(options.out)
    folder.mkdir(parents=True, exist_ok=True)
    done = set() if options.again else _done(folder)
    left = [row for row in rows if (row.job_id, row.file) not in done or not (folder / row.file).is_file()]
    print(f"{len(rows)} rows, {len(rows) - len(left)} done before", file=sys.stderr)
    failed = asyncio.run(_run_all(client.base_url, options, left, folder))
    if options.json:
        print(to_json({"rows": len(rows), "done_before": len(rows) - len(left), "failed": failed}))
    if failed:
        raise SomeFailed(
            f"{failed} of {len(rows)} rows failed; {folder / RECORD} says why; run again to try them again"
        )


def read_rows(table: Path) -> Iterator[Row]:
    """The rows of a CSV file with a header, or of a file with a JSON object in each line; raises ValueError, OSError.

    A column is a parameter (`mask.image` is one of an object), an option of jobs, `kind`, or `file`.
    """
    number = 0
    for number, values in enumerate(_values(table), 1):
        if number > _ROWS_MAX:
            raise ValueError(f"{table} has more than {_ROWS_MAX} rows")
        try:
            yield _row(number, values, table)
        except ValueError as error:
            raise ValueError(f"{table}, row {number}: {error}") from error
    if number == 0:
        raise ValueError(f"{table} has no rows")


def _values(table: Path) -> Iterator[Mapping[str, Any]]:
    with table.open(encoding="utf-8-sig", newline="") as file:
        if table.suffix.lower() == ".csv":
            for line in csv.DictReader(file, strict=True):
                yield {name: _cell(name, text) for name, text in line.items() if name and text}
            return
        for number, text in enumerate(file, 1):
            if text.strip():
                try:
                    found = json.loads(text)
                except ValueError as error:
                    raise ValueError(f"{table}, line {number}: {error}") from error
                if not isinstance(found, dict):
                    raise ValueError(f"{table}, line {number}: not a JSON object")
                yield found


def _cell(name: str, text: str) -> object:
    """The value of a cell of a CSV file: text where the parameter is text, else JSON if it is some."""
    if name in (*_OWN_COLUMNS, *_text_names()):
        return text
    with suppress(ValueError):
        return json.loads(text)
    return text


def _text_names() -> frozenset[str]:
    return frozenset(each.name for kind in KINDS for each in kind.parameters if each.form in ("str", "image"))


def _row(number: int, values: Mapping[str, Any], table: Path) -> Row:
    option_names = {option.name for option in OPTIONS} - {"metadata"}
    params: dict[str, Any] = {}
    for key, value in values.items():
        if key not in _OWN_COLUMNS and key not in option_names:
            _set(params, key, value)
    kind = str(values.get("kind") or _implied(params))
    options = {name: values[name] for name in option_names if name in values}
    file = str(values.get("file") or f"{number:05}.png")
    if Path(file).name != file or Path(file).suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
        raise ValueError(f"{file!r} is no name of a PNG, JPEG or WebP file without a folder")
    return Row(number, kind, _with_files(params, table.parent), options, file)


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


def _with_files(params: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """`params`, in which a name of a file beside the table is its path."""
    found = dict(params)
    for name in ("image", "mask"):
        value = found.get(name)
        if isinstance(value, str) and (folder / value).is_file():
            found[name] = str((folder / value).resolve())
        elif isinstance(value, dict):
            found[name] = _with_files(value, folder)
    return found


def _paths(params: Mapping[str, Any]) -> dict[str, Any]:
    """`params`, in which the paths of images are paths and no text."""
    found = {name: _paths(value) if isinstance(value, dict) else value for name, value in params.items()}
    return found | {
        name: Path(value)
        for name in ("image", "mask")
        if isinstance(value := found.get(name), str) and Path(value).is_absolute()
    }


def _done(folder: Path) -> set[tuple[str, str]]:
    """The rows that have their images, by the ids of their jobs and their files."""
    try:
        lines = (folder / RECORD).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return set()
    done = set()
    for line in lines:
        with suppress(ValueError, KeyError, TypeError):  # the last line may have broken off
            entry = json.loads(line)
            if entry["error"] is None:
                done.add((entry["job"], entry["file"]))
    return done


async def _run_all(url: str, options: argparse.Namespace, rows: list[Row], folder: Path) -> int:
    """Run the rows, `--parallel` at a time; returns how many failed."""
    failed, left = 0, iter(rows)
    async with AsyncPhotogram(url, options.api_key) as client:
        with (folder / RECORD).open("a", encoding="utf-8") as record:

            async def work() -> None:
                nonlocal failed
                for row in left:
                    error = await _run_one(client, row, folder, again=options.again)
                    failed += error is not None
                    entry = {"row": row.number, "file": row.file, "job": row.job_id, "error": error}
                    record.write(json.dumps(entry, ensure_ascii=False) + "\n")
                    record.flush()
                    print(f"row {row.number}: {error or folder / row.file}", file=sys.stderr)

            async with asyncio.TaskGroup() as group:
                for _ in range(min(options.parallel, len(rows))):
                    group.create_task(work())
    return failed


async def _run_one(client: AsyncPhotogram, row: Row, folder: Path, *, again: bool) -> str | None:
    """Run a row, and return why it failed; a job that was lost with its server, or failed, is run again."""
    try:
        job_id = None if again else row.job_id
        job = await client.submit_kind(row.kind, _paths(row.params), job_id=job_id, options=row.options or None)  # type: ignore[arg-type]
        if job.status in ("failed", "canceled"):
            job = await client.submit_kind(row.kind, _paths(row.params), options=row.options or None)  # type: ignore[arg-type]
        image = await (await job.wait()).download()
        await image.save(folder / row.file)
    except (PhotogramError, OSError, ValueError) as error:
        return told(error)
    return None

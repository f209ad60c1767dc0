"""The command `photogram batch`: a job for each row of a file, the images into a folder; it resumes."""

import argparse
import asyncio
import json
import sys
from contextlib import suppress
from pathlib import Path

from photogram import AsyncPhotogram, Photogram, PhotogramError

from .batch_rows import Row, read_rows
from .failures import told
from .output import to_json

RECORD = "batch.jsonl"
"""The file in the folder that says what became of each row."""


class SomeFailed(PhotogramError):
    """Some rows have no image."""


def run_batch(options: argparse.Namespace, client: Photogram) -> None:
    """Run the rows that have no image yet; raises SomeFailed if some still have none."""
    if not 1 <= options.parallel <= 64:
        raise ValueError("--parallel must be from 1 to 64")
    rows = list(read_rows(Path(options.table)))
    folder = Path(options.out)
    folder.mkdir(parents=True, exist_ok=True)
    done = {} if options.again else _done(folder)
    left = [row for row in rows if row.job_id not in done or not all(each.is_file() for each in done[row.job_id])]
    print(f"{len(rows)} rows, {len(rows) - len(left)} done before", file=sys.stderr)
    failed = asyncio.run(_run_all(client.base_url, options, left, folder))
    if options.json:
        print(to_json({"rows": len(rows), "done_before": len(rows) - len(left), "failed": failed}))
    if failed:
        raise SomeFailed(
            f"{failed} of {len(rows)} rows failed; {folder / RECORD} says why; run again to try them again"
        )


def _done(folder: Path) -> dict[str, list[Path]]:
    """The files of the rows that got their images, by the ids of their jobs."""
    try:
        lines = (folder / RECORD).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    done = {}
    for line in lines:
        with suppress(ValueError, KeyError, TypeError):  # the last line may have broken off
            entry = json.loads(line)
            if entry["error"] is None:
                done[str(entry["job"])] = [folder / name for name in entry["files"]]
    return done


async def _run_all(url: str, options: argparse.Namespace, rows: list[Row], folder: Path) -> int:
    """Run the rows, `--parallel` at a time; returns how many failed."""
    failed, left = 0, iter(rows)
    async with AsyncPhotogram(url, options.api_key) as client:
        with (folder / RECORD).open("a", encoding="utf-8") as record:

            async def work() -> None:
                nonlocal failed
                for row in left:
                    files, error = await _run_one(client, row, folder, again=options.again)
                    failed += error is not None
                    entry = {"row": row.number, "files": files, "job": row.job_id, "error": error}
                    record.write(json.dumps(entry, ensure_ascii=False) + "\n")
                    record.flush()
                    print(
                        f"row {row.number}: {error or ', '.join(str(folder / each) for each in files)}", file=sys.stderr
                    )

            async with asyncio.TaskGroup() as group:
                for _ in range(min(options.parallel, len(rows))):
                    group.create_task(work())
    return failed


async def _run_one(client: AsyncPhotogram, row: Row, folder: Path, *, again: bool) -> tuple[list[str], str | None]:
    """Run a row; returns the files of the images that it saved, and why it failed.

    A job that was lost with its server, or failed, is run again.
    """
    files: list[str] = []
    try:
        job_id = None if again else row.job_id
        job = await client.submit_kind(row.kind, row.params, job_id=job_id, options=row.options or None)  # type: ignore[arg-type]
        if job.status in ("failed", "canceled"):
            job = await client.submit_kind(row.kind, row.params, options=row.options or None)  # type: ignore[arg-type]
        finished = await job.wait()
        for index in range(max(1, len(finished.result.images) if finished.result else 0)):
            name = row.file_of(index + 1)
            await (await finished.download(index)).save(folder / name)
            files.append(name)
    except (PhotogramError, OSError, ValueError) as error:
        return files, told(error)
    return files, None

"""A training run as a process of its own."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from models.diffusion.failures import is_out_of_memory
from models.downloads.progress import Progress
from models.downloads.space import DISK_PROBLEMS, in_words
from models.errors import FinetuneError, JobFailure, OutOfMemory, TrainingFailed, UnreadableArchive
from models.job_process import Tell, run
from models.media.archives import archive_facts, unpack
from models.vision.files import download, is_on_disk
from models.vision.finetuning.examples import dataset_in
from models.vision.finetuning.finetune import Event, Finetuned, Prepared, finetune
from models.vision.finetuning.options import Options
from models.vision.finetuning.orders import ARCHIVE, DATA, Order
from models.vision.finetuning.training import Counted, Epoch

SKIPPED_TOLD = 100
"""How many images that were left out an event lists."""
_TOLD_EVERY_S = 0.5


def main() -> int:
    """Run in the current folder, which has the data and gets the model."""
    return run(_run, _failure)


def _run(line: bytes, tell: Tell) -> None:
    order = Order.read(line)
    if ARCHIVE.exists():
        _unpack()
    if not is_on_disk(order.base):
        download(order.base, Progress())
    source, multi_label = dataset_in(DATA), order.is_multi_label
    events = finetune(source, order.base, order.place, order.options, is_multi_label=multi_label, is_confined=True)
    for document in _documents(events, order.options):
        tell(document)


def _unpack() -> None:
    with ARCHIVE.open("rb") as file:
        needed, status = archive_facts(file).unpacked_bytes, os.statvfs(".")
        free = status.f_bavail * status.f_frsize
        if free < needed:
            raise FinetuneError(
                f"the data set needs {in_words(needed)} when it is unpacked, and only {in_words(free)} are free"
            )
        DATA.mkdir()
        unpack(file, DATA)
    ARCHIVE.unlink()


def _failure(error: Exception) -> JobFailure | None:
    """What a job fails with; ``None`` for what nobody foresaw."""
    if isinstance(error, JobFailure):
        return error
    if is_out_of_memory(error):
        return OutOfMemory("the training does not fit into memory: a smaller batch_size helps, or a smaller model")
    if isinstance(error, FinetuneError):
        return TrainingFailed(str(error))
    if isinstance(error, UnreadableArchive):
        return TrainingFailed(f"the data set cannot be unpacked: {error}", "data")
    if isinstance(error, OSError) and error.errno in DISK_PROBLEMS:
        return TrainingFailed(f"the data set cannot be written: {DISK_PROBLEMS[error.errno]}")
    return None


def _documents(events: Iterator[Event], options: Options) -> Iterator[dict[str, Any]]:
    """The events as JSON, and at most every half second how far the run is."""
    told_at, share = 0.0, 0.0
    for event in events:
        share = max(share, share_done(event, options))
        if isinstance(event, Counted):
            if time.monotonic() - told_at >= _TOLD_EVERY_S:
                told_at = time.monotonic()
                yield {"event": "progress", "share": share}
            continue
        yield {"event": type(event).__name__.lower(), **_fields(event)}
        yield {"event": "progress", "share": share}


def _fields(event: Prepared | Epoch | Finetuned) -> dict[str, Any]:
    fields = asdict(event)
    if isinstance(event, Prepared):
        fields["skipped"] = len(event.skipped)
        fields["skipped_files"] = [
            {"file": str(each.file), "reason": each.reason} for each in event.skipped[:SKIPPED_TOLD]
        ]
    return fields


def share_done(event: Event, options: Options) -> float:
    """The share of the whole run that is over after ``event``, if all epochs are run."""
    checked, looked = (0.05, 0.05) if options.is_full else (0.1, 0.7)
    match event:
        case Counted("images"):
            return checked * event.done / event.total
        case Counted("features"):
            return checked + (looked - checked) * event.done / event.total
        case Counted():
            epoch = int(event.what.removeprefix("epoch ")) - 1
            return looked + (0.99 - looked) * (epoch + event.done / event.total) / options.epochs
        case Finetuned():
            return 1.0
    return 0.0


if __name__ == "__main__":
    sys.exit(main())

"""The note that a download keeps beside its files, by which other processes tell how far it is, also if it was cut off.

The note is written once, when the size is known, and removed when all files are here. It names the files; how many of
their bytes there are, and whether a process is writing them, is asked of the disk.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from huggingface_hub import constants

from models.catalog.catalog import ModelSpec
from models.downloads.transfer import RemoteFile, incomplete_of, is_being_written

_SUFFIX = ".download"


@dataclass(frozen=True)
class DownloadState:
    """How far a download is that was begun and is not complete."""

    model: str
    """The name of the model that it was begun for."""
    source: str
    """The repository with its revision, or the URL."""
    done_bytes: int
    total_bytes: int | None
    """``None`` if the server does not tell."""
    bytes_per_s: float | None
    """The speed since the download was begun or went on; ``None`` if nobody downloads, or before the first bytes."""
    is_running: bool
    """Whether a process of this machine is downloading now; otherwise the next attempt goes on here."""


@dataclass(frozen=True)
class _Note:
    model: str
    source: str
    files: Sequence[Sequence[str]]
    """For each file where it will be, and where its bytes are until all of them are there."""
    other_bytes: int
    """The bytes of the files that are not in ``files``, which are here."""
    total_bytes: int | None
    began_at: float
    """In seconds since 1970."""
    began_bytes: int
    """The bytes that were here then."""


def note_of(spec: ModelSpec) -> Path:
    """Where a download of ``spec``, which has a repository or a URL, keeps its note, until all files are here.

    Models that need the same files of one repository share a note, as they share the files.
    """
    if spec.repository is None:
        assert spec.file is not None
        return spec.file.with_name(f"{spec.file.name}{_SUFFIX}")
    wanted = f"{spec.revision} {spec.dtype == 'float32'} {spec.denoiser is None}"
    name = f"photogram-{hashlib.sha256(wanted.encode()).hexdigest()[:12]}{_SUFFIX}"
    return repository_folder(spec.repository) / name


def repository_folder(repository: str) -> Path:
    """The folder of a repository of models in the cache of the hub's client."""
    return Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}"


@contextmanager
def noted(
    spec: ModelSpec, files: Sequence[tuple[RemoteFile, Path]], total_bytes: int | None, other_bytes: int = 0
) -> Iterator[None]:
    """Keep the note of a download of ``spec`` during the block, and after a failure if there are bytes of it.

    Args:
        files: what is downloaded with :func:`models.downloads.transfer.transfer`, and to which places.
        total_bytes: the size of the whole model; ``None`` if that is unknown.
        other_bytes: how much of that is in other files, which are here already.
    """
    path = note_of(spec)
    places = [(str(place.absolute()), str(incomplete_of(place, file.version).absolute())) for file, place in files]
    began_bytes = other_bytes + sum(_bytes_here(*each) for each in places)
    note = _Note(spec.name, spec.url or spec.source, places, other_bytes, total_bytes, time.time(), began_bytes)
    path.parent.mkdir(parents=True, exist_ok=True)
    written = path.with_name(f"{path.name}.{os.getpid()}")
    written.write_text(json.dumps(asdict(note)), encoding="utf-8")
    written.replace(path)
    is_complete = False
    try:
        yield
        is_complete = True
    finally:
        if is_complete or not any(_bytes_here(*each) for each in places):
            path.unlink(missing_ok=True)


def download_of(spec: ModelSpec) -> DownloadState | None:
    """How far the download of ``spec`` is; ``None`` if none was begun on this machine, or all files are here."""
    return None if spec.repository is None and spec.url is None else _state(note_of(spec))


def downloads_beside(folder: Path) -> Iterator[tuple[Path, DownloadState]]:
    """All incomplete downloads, each with the path of its note: of URLs to ``folder``, and to the hub's cache."""
    cache = Path(constants.HF_HUB_CACHE)
    for path in sorted([*folder.glob(f"*{_SUFFIX}"), *cache.glob(f"models--*/photogram-*{_SUFFIX}")]):
        state = _state(path)
        if state is not None:
            yield path, state


def _state(path: Path) -> DownloadState | None:
    try:
        note = _Note(**json.loads(path.read_text(encoding="utf-8")))
        fetched = sum(_bytes_here(*each) for each in note.files)
        is_running = any(is_being_written(Path(partial)) for _, partial in note.files)
    except (OSError, ValueError, TypeError):  # there is none, or it was damaged
        return None
    if not fetched and not is_running:
        return None
    done_bytes, passed_s = note.other_bytes + fetched, time.time() - note.began_at
    came_bytes = done_bytes - note.began_bytes
    speed = came_bytes / passed_s if is_running and came_bytes > 0 and passed_s > 0 else None
    return DownloadState(note.model, note.source, done_bytes, note.total_bytes, speed, is_running)


def _bytes_here(place: str, partial: str) -> int:
    """How many bytes of a file are here, complete or not; the incomplete one is renamed when it is complete."""
    for path in (partial, place):
        try:
            return os.stat(path).st_size
        except FileNotFoundError:
            continue
    return 0

"""Zip archives from outside: checked as a whole before anything is unpacked, and unpacked within those bounds."""

from __future__ import annotations

import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from models.errors import UnreadableArchive, quoted

FILES_MAX = 50_000
FILE_MAX_BYTES = 64 << 20
"""The largest file, unpacked."""
TOTAL_MAX_BYTES = 4 << 30
"""All files together, unpacked."""
DEPTH_MAX = 16
"""How many folders may be around a file."""
PATH_MAX_CHARS, NAME_MAX_BYTES = 400, 255
ZIP_TYPES = ("application/zip", "application/x-zip-compressed")
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_JUNK = ("__MACOSX",)
"""Folders that programs add for themselves."""
_END, _LOCATOR_OF_64, _ENTRY = b"PK\x05\x06", b"PK\x06\x07", b"PK\x01\x02"
_END_BYTES, _COMMENT_MAX_BYTES, _LOCATOR_BYTES = 22, 0xFFFF, 20
_DIRECTORY_MAX_BYTES = FILES_MAX * 400
_PIECE_BYTES = 1 << 20
_UNREADABLE = (
    zipfile.BadZipFile, zlib.error, struct.error, NotImplementedError, RuntimeError, ValueError, EOFError, LookupError,
)  # fmt: skip
"""What :mod:`zipfile` raises for archives that are damaged, encrypted, or made of something else."""


@dataclass(frozen=True)
class ArchiveFacts:
    """What an archive has, without the files and folders that are left out."""

    files: int
    unpacked_bytes: int


def archive_facts(file: BinaryIO) -> ArchiveFacts:
    """Check the list of files in the zip archive ``file``; nothing is unpacked.

    Raises:
        UnreadableArchive: it is no zip archive, or may not be unpacked: a path leads out of it, an entry is a link, or
            there are too many files or too large ones.
    """
    with _opened(file) as archive:
        entries = list(_files(archive))
    return ArchiveFacts(len(entries), sum(entry.file_size for entry in entries))


def unpack(file: BinaryIO, folder: Path) -> None:
    """Write the files of the zip archive ``file`` into ``folder``, which must be empty.

    Raises:
        UnreadableArchive: as :func:`archive_facts`, or a file in it is damaged.
        OSError: a file cannot be written.
    """
    with _opened(file) as archive:
        for entry in list(_files(archive)):  # all are checked before the first is written
            place = folder / entry.filename
            place.parent.mkdir(parents=True, exist_ok=True)
            with place.open("xb") as written:
                for piece in _pieces(archive, entry):
                    written.write(piece)


def _pieces(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Iterator[bytes]:
    """The bytes of a file; never more than the list of files says, since :mod:`zipfile` stops there."""
    try:
        with archive.open(entry) as packed:
            while piece := packed.read(_PIECE_BYTES):
                yield piece
    except _UNREADABLE as error:
        raise UnreadableArchive(f"the file {quoted(entry.filename)} in the archive is damaged") from error


@contextmanager
def _opened(file: BinaryIO) -> Iterator[zipfile.ZipFile]:
    _check_directory(file)
    try:
        archive = zipfile.ZipFile(file)
    except _UNREADABLE as error:
        raise UnreadableArchive("it is no zip archive, or a damaged one") from error
    with archive:
        yield archive


def _check_directory(file: BinaryIO) -> None:
    """Refuse a list of files that is too long, before :mod:`zipfile` reads it into memory as a whole.

    The end of the archive is looked for as :mod:`zipfile` does; what that might read in another way is refused.
    """
    size = file.seek(0, 2)
    file.seek(max(0, size - _END_BYTES - _COMMENT_MAX_BYTES - _LOCATOR_BYTES))
    tail = file.read()
    at = tail.rfind(_END)
    if at < 0 or len(tail) - at < _END_BYTES:
        raise UnreadableArchive("it is no zip archive, or an incomplete one")
    directory_bytes, comment_bytes = struct.unpack_from("<L4xH", tail, at + 12)
    if len(tail) - at != _END_BYTES + comment_bytes:
        raise UnreadableArchive("it has other data after the end of the zip archive")
    if tail[max(0, at - _LOCATOR_BYTES) : at].startswith(_LOCATOR_OF_64) or directory_bytes > _DIRECTORY_MAX_BYTES:
        raise UnreadableArchive(f"its list of files is too long: at most {FILES_MAX} files are allowed")
    start = size - (len(tail) - at) - directory_bytes
    if start < 0:
        raise UnreadableArchive("its list of files is damaged")
    file.seek(start)
    if file.read(directory_bytes).count(_ENTRY) > 2 * FILES_MAX:  # with as many folders as files
        raise UnreadableArchive(f"its list of files is too long: at most {FILES_MAX} files are allowed")
    file.seek(0)


def _files(archive: zipfile.ZipFile) -> Iterator[zipfile.ZipInfo]:
    """The files of the archive that are not left out, each checked, and all together."""
    names: set[str] = set()
    folders: set[str] = set()
    count = total = 0
    for entry in archive.infolist():
        problem = _path_problem(entry) or _entry_problem(entry)
        if problem is not None:
            raise UnreadableArchive(f"its entry {quoted(entry.filename)} {problem}")
        if entry.is_dir() or _is_junk(entry.filename):
            continue
        if entry.filename in names:
            raise UnreadableArchive(f"it has two files called {quoted(entry.filename)}")
        count, total = count + 1, total + entry.file_size
        if count > FILES_MAX:
            raise UnreadableArchive(f"it has more than {FILES_MAX} files")
        if total > TOTAL_MAX_BYTES:
            raise UnreadableArchive(f"its files have more than {TOTAL_MAX_BYTES} bytes when they are unpacked")
        names.add(entry.filename)
        folders.update(str(each) for each in PurePosixPath(entry.filename).parents)
        yield entry
    if both := names & folders:
        raise UnreadableArchive(f"{quoted(min(both))} in it is a file and a folder")


def _path_problem(entry: zipfile.ZipInfo) -> str | None:
    name, parts = entry.filename, entry.filename.rstrip("/").split("/")
    # ``orig_filename`` is the name before zipfile cuts it off at a NUL.
    if not name.isprintable() or "\0" in entry.orig_filename or "\\" in name or re.match(r"[A-Za-z]:", name):
        return "has a name that is not allowed: it has control characters, a backslash or the name of a drive"
    if any(part in ("", ".", "..") for part in parts):
        return "has a path that leads out of the archive, or has empty parts"
    if len(name) > PATH_MAX_CHARS or len(parts) > DEPTH_MAX + 1:
        return f"has a path of more than {PATH_MAX_CHARS} characters or {DEPTH_MAX} folders"
    if any(len(part.encode(errors="replace")) > NAME_MAX_BYTES for part in parts):
        return f"has a name of more than {NAME_MAX_BYTES} bytes"
    return None


def _entry_problem(entry: zipfile.ZipInfo) -> str | None:
    mode = entry.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a device: only files and folders are allowed"
    if entry.flag_bits & 0x1:
        return "is encrypted"
    if entry.compress_type not in _METHODS:
        return "is compressed by a method that is not read: use deflate, as zip programs do by default"
    if entry.file_size > FILE_MAX_BYTES:
        return f"has {entry.file_size} bytes when it is unpacked; at most {FILE_MAX_BYTES} are allowed"
    return None


def _is_junk(name: str) -> bool:
    return name.split("/")[0] in _JUNK

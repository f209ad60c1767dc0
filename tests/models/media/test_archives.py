"""Zip archives from outside: hostile ones are refused before anything is unpacked, and nothing leaves the folder."""

from __future__ import annotations

import io
import os
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from models.errors import UnreadableArchive
from models.media import archives
from models.media.archives import ArchiveFacts, archive_facts, unpack


def packed(files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", compression) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return made.getvalue()


def link(name: str, target: str) -> bytes:
    made, entry = io.BytesIO(), zipfile.ZipInfo(name)
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr(entry, target)
    return made.getvalue()


def twice(name: str) -> bytes:
    made = io.BytesIO()
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(made, "w") as archive:
        archive.writestr(name, b"1")
        archive.writestr(name, b"2")
    return made.getvalue()


def renamed(to: bytes) -> bytes:
    """An archive whose only file has a name that :mod:`zipfile` would not write."""
    return packed({"x" * len(to): b"1"}).replace(b"x" * len(to), to)


def changed(at: int, form: str, value: int) -> bytes:
    """An archive whose directory entry has ``value`` at the offset ``at``."""
    data = bytearray(packed({"a.png": b"1" * 100}))
    struct.pack_into(form, data, data.index(b"PK\x01\x02") + at, value)
    return bytes(data)


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "no archive": (lambda: b"\x89PNG and more", "no zip archive"),
    "nothing": (lambda: b"", "no zip archive"),
    "cut off": (lambda: packed({"a.png": b"1" * 999})[:-30], "no zip archive"),
    "data behind": (lambda: packed({"a.png": b"1"}) + b"more", "other data after the end"),
    "two ends": (lambda: packed({"a.png": b"1"}) + b"PK\x05\x06", "no zip archive, or an incomplete one"),
    "directory beyond the start": (
        lambda: packed({"a": b""})[:-10] + struct.pack("<LLH", 5000, 0, 0), "list of files is damaged",
    ),
    "path up": (lambda: packed({"../../a.png": b"1"}), "leads out of the archive"),
    "path inside": (lambda: packed({"cat/../../a.png": b"1"}), "leads out of the archive"),
    "absolute path": (lambda: packed({"/etc/passwd": b"1"}), "leads out of the archive"),
    "backslash": (lambda: renamed(rb"..\..\a.png"), "a backslash"),
    "drive": (lambda: packed({"C:a.png": b"1"}), "the name of a drive"),
    "NUL": (lambda: renamed(b"a.png\0.txt"), "control characters"),
    "newline": (lambda: packed({"a\nb.png": b"1"}), "control characters"),
    "deep": (lambda: packed({"a/" * 17 + "b.png": b"1"}), "16 folders"),
    "long name": (lambda: packed({"é" * 200 + ".png": b"1"}), "255 bytes"),
    "long path": (lambda: packed({"/".join(["a" * 200] * 3): b"1"}), "400 characters"),
    "symbolic link": (lambda: link("cat", "/etc"), "a link or a device"),
    "two files of one name": (lambda: twice("a.png"), "two files called 'a.png'"),
    "file and folder": (lambda: packed({"a": b"1", "a/b.png": b"1"}), "is a file and a folder"),
    "encrypted": (lambda: changed(8, "<H", 1), "is encrypted"),
    "other method": (lambda: packed({"a.png": b"1"}, zipfile.ZIP_LZMA), "a method that is not read"),
    "one large file": (lambda: changed(24, "<L", archives.FILE_MAX_BYTES + 1), "when it is unpacked"),
}  # fmt: skip


@pytest.mark.parametrize(("made", "reason"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_archives_are_refused(made: Callable[[], bytes], reason: str, tmp_path: Path) -> None:
    for refused in (archive_facts, lambda file: unpack(file, tmp_path / "inside")):
        with pytest.raises(UnreadableArchive, match=reason):
            refused(io.BytesIO(made()))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_too_many_files_are_refused_before_their_list_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "FILES_MAX", 10)
    with pytest.raises(UnreadableArchive, match="more than 10 files"):
        archive_facts(io.BytesIO(packed({f"{number}.png": b"" for number in range(11)})))
    many = packed({f"{number}.png": b"" for number in range(21)})
    monkeypatch.setattr(zipfile.ZipFile, "__init__", lambda *_: pytest.fail("the list was read"))
    with pytest.raises(UnreadableArchive, match="list of files is too long"):
        archive_facts(io.BytesIO(many))


def test_a_bomb_is_refused_by_what_its_files_have_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "TOTAL_MAX_BYTES", 3_000_000)
    bomb = packed({f"{number}.png": bytes(1_000_000) for number in range(4)})
    assert len(bomb) < 10_000
    with pytest.raises(UnreadableArchive, match="more than 3000000 bytes when they are unpacked"):
        archive_facts(io.BytesIO(bomb))


def test_a_file_with_more_bytes_than_the_list_says_is_damaged(tmp_path: Path) -> None:
    data = bytearray(packed({"a.png": bytes(1_000_000)}))
    struct.pack_into("<L", data, data.index(b"PK\x01\x02") + 24, 10)
    with pytest.raises(UnreadableArchive, match=r"'a\.png' in the archive is damaged"):
        unpack(io.BytesIO(bytes(data)), tmp_path)
    assert sum(path.stat().st_size for path in tmp_path.rglob("*")) <= 10


def test_an_ordinary_archive_is_unpacked(tmp_path: Path) -> None:
    files = {"cat/1.png": os.urandom(3_000_000), "dög/2.png": b"2", "__MACOSX/cat/._1.png": b"junk"}
    data = packed({"cat/": b"", **files})
    assert archive_facts(io.BytesIO(data)) == ArchiveFacts(2, 3_000_001)
    unpack(io.BytesIO(data), tmp_path)
    found = {str(path.relative_to(tmp_path)): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {name: data for name, data in files.items() if not name.startswith("__MACOSX")}

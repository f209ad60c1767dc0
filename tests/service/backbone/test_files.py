"""Writing of files: whole or not at all, private whatever the umask, never over another file, and without leftovers."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.errors import StorageUnavailable
from service.backbone import files
from service.backbone.files import GROUP_READABLE, create_file, make_folder, remove_partial, replace_file
from tests.disks import small_disk


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.mark.usefixtures("open_umask")
@pytest.mark.parametrize("write", [create_file, replace_file])
def test_files_and_their_folders_are_private_whatever_the_umask(tmp_path: Path, write) -> None:
    place = tmp_path / "a" / "b" / "c.png"
    write(place, b"x")
    assert [mode(path) for path in (place, place.parent, place.parent.parent)] == [0o600, 0o700, 0o700]
    shared = tmp_path / "d" / "e.png"
    write(shared, b"x", GROUP_READABLE)
    assert [mode(path) for path in (shared, shared.parent)] == [0o640, 0o750]


def test_a_file_that_exists_stays_as_it_is(tmp_path: Path) -> None:
    place = tmp_path / "a"
    assert create_file(place, b"one")
    assert not create_file(place, b"two") and place.read_bytes() == b"one"
    replace_file(place, b"three")
    assert place.read_bytes() == b"three" and list(tmp_path.iterdir()) == [place]


def test_a_file_system_without_links_keeps_files_apart_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object) -> None:
        raise OSError(errno.EPERM, "no links")

    monkeypatch.setattr(files.os, "link", no_links)
    place = tmp_path / "a"
    assert create_file(place, b"one") and mode(place) == 0o600
    assert not create_file(place, b"two")
    assert place.read_bytes() == b"one" and list(tmp_path.iterdir()) == [place]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG])
@pytest.mark.parametrize("write", [create_file, replace_file])
def test_a_write_that_fails_is_typed_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, write
) -> None:
    def fail(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files.os, "fsync", fail)  # where a full disk may show itself at last
    with pytest.raises(StorageUnavailable, match=os.strerror(number)) as caught:
        write(tmp_path / "ab" / "x", b"x")
    assert str(tmp_path) not in str(caught.value), "the message goes to clients, which need not know the path"
    assert list(tmp_path.rglob("*")) == [tmp_path / "ab"]


def test_a_device_and_a_folder_are_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(StorageUnavailable, match="no file that can be replaced"):
            replace_file(tmp_path / name, b"x")
    assert (tmp_path / "pipe").is_fifo()


def test_a_full_disk_is_typed_and_leaves_nothing(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        folder = disk.folder / "ab"
        folder.mkdir()
        disk.fill()
        with pytest.raises(StorageUnavailable, match="the folder 'ab' cannot be written"):
            create_file(folder / "x", bytes(1 << 16))
        assert list(folder.iterdir()) == []
        disk.free()
        assert create_file(folder / "x", bytes(1 << 16))


def test_what_a_killed_process_left_half_written_is_removed(tmp_path: Path) -> None:
    (tmp_path / "ab").mkdir()
    old, new, whole = tmp_path / "ab" / "x.partial", tmp_path / "y.partial", tmp_path / "ab" / "z"
    for path in (old, new, whole):
        path.touch()
    for path in (old, whole):
        os.utime(path, (time.time() - 100, time.time() - 100))
    assert remove_partial(tmp_path, 50) == 1
    assert (old.exists(), new.exists(), whole.exists()) == (False, True, True)


def test_a_folder_that_exists_keeps_its_permissions(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    make_folder(tmp_path)
    assert mode(tmp_path) == 0o755

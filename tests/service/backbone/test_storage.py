"""Whether anything can be stored: folders that cannot be written, and free space below a watermark."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace

import pytest

from models.errors import StorageUnavailable
from service.backbone import storage
from service.backbone.storage import StorageMonitor, write_problem
from tests.disks import small_disk

MIB = 1 << 20


@pytest.fixture(autouse=True)
def _without_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "CACHED_S", 0.0)


class Space:
    """What the kernel says of a disk."""

    def __init__(self, total: int, free: int) -> None:
        self.total, self.free = total, free

    def __call__(self, _: object) -> SimpleNamespace:
        return SimpleNamespace(f_frsize=1, f_blocks=self.total, f_bavail=self.free)


def test_a_disk_that_fills_is_told_and_so_is_its_recovery(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with small_disk(tmp_path / "images") as disk, caplog.at_level(logging.WARNING):
        monitor = StorageMonitor([disk.folder, tmp_path / "files"], min_free_bytes=0)
        assert monitor.problem() is None and monitor.write_problem() is None
        disk.fill()
        for _ in range(3):
            problem = monitor.problem()
            assert problem is not None and problem.startswith("the folder 'images' cannot be written: ")
            with pytest.raises(StorageUnavailable, match="'images'"):
                monitor.require_room()
        disk.free()
        assert monitor.problem() is None
        monitor.require_room()
        assert len(caplog.records) == 2, "each change is logged once"
        assert list(disk.folder.iterdir()) == []


def test_new_jobs_are_refused_below_the_watermark_and_results_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = Space(total=100 * MIB, free=11 * MIB)
    monkeypatch.setattr(storage.os, "statvfs", space)
    monitor = StorageMonitor([tmp_path], min_free_bytes=10 * MIB)
    assert monitor.problem() is None
    space.free = 9 * MIB
    assert "only 9.0 MiB are free" in (monitor.problem() or "") and monitor.write_problem() is None
    space.free = 11 * MIB
    assert monitor.problem() is not None, "a little more space would be used up at once"
    space.free = 13 * MIB
    assert monitor.problem() is None


@pytest.mark.parametrize(
    ("total", "watermark"), [(1 << 40, 512 * MIB), (10 << 30, int((10 << 30) * 0.02)), (MIB, 20971), (0, 0)]
)
def test_the_default_watermark_fits_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, total: int, watermark: int
) -> None:
    for free, is_refused in ((watermark, False), (watermark - 1, total > 0)):
        monkeypatch.setattr(storage.os, "statvfs", Space(total, max(0, free)))
        assert (StorageMonitor([tmp_path]).problem() is not None) is is_refused
        assert StorageMonitor([tmp_path], min_free_bytes=0).problem() is None


def test_after_a_failure_only_a_larger_file_shows_that_there_is_space(tmp_path: Path) -> None:
    with small_disk(tmp_path / "images", "1m") as disk:
        (disk.folder / "other").write_bytes(bytes(MIB // 2))
        monitor = StorageMonitor([disk.folder], min_free_bytes=0)
        assert monitor.problem() is None
        monitor.note_failure()
        is_small = (disk.folder / "other").stat().st_dev != tmp_path.stat().st_dev
        assert (monitor.problem() is not None) is is_small
        (disk.folder / "other").unlink()


def test_a_folder_that_does_not_exist_yet_is_judged_by_its_parent(tmp_path: Path) -> None:
    assert write_problem(tmp_path / "a" / "b") is None and list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    assert write_problem(tmp_path / "file") is None, "its parent can be written"

"""Packages are published whole or not at all, whoever else reads or writes them."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from photogram_runtime.package import MANIFEST, read_package, write_manifest

from models.deploy.store import Busy, LongName, NoTarget, PackageStore

MODEL, TARGET = "tiny", "openvino-f32"


def write(folder: Path, text: str) -> None:
    """A package with one file."""
    (folder / "unet.xml").write_text(text)
    facts = {"model": MODEL, "family": "sdxl", "kind": "drawing", "backend": "openvino", "precision": "f32"}
    objects = ("parts", "source", "versions", "requires", "device", "checks", "profile")
    write_manifest(folder, facts | {name: {} for name in objects})


@pytest.fixture
def store(tmp_path: Path) -> PackageStore:
    return PackageStore(tmp_path / "deployed")


def published(store: PackageStore, text: str = "first") -> Path:
    with store.writing(MODEL, TARGET) as folder:
        write(folder, text)
    return store.place(MODEL, TARGET)


def visible(store: PackageStore) -> list[str]:
    """All that lies beside the packages of the model."""
    return sorted(each.name for each in store.place(MODEL, TARGET).parent.iterdir() if not each.name.startswith("."))


def test_nothing_is_visible_before_the_end(store: PackageStore) -> None:
    with store.writing(MODEL, TARGET) as folder:
        write(folder, "first")
        assert store.targets(MODEL) == [] and not store.place(MODEL, TARGET).exists()
    assert store.targets(MODEL) == [TARGET] and visible(store) == [TARGET]
    assert read_package(store.place(MODEL, TARGET)).name == MODEL


def test_the_same_package_is_made_once_at_a_time(store: PackageStore) -> None:
    with store.writing(MODEL, TARGET) as folder:
        write(folder, "first")
        with pytest.raises(Busy, match="tiny is being deployed to openvino-f32"), store.writing(MODEL, TARGET):
            pass
        with store.writing(MODEL, "openvino-int8") as other:
            write(other, "another target")
    assert store.targets(MODEL) == [TARGET, "openvino-int8"]


def test_another_process_is_busy_too_and_frees_the_target_when_it_dies(store: PackageStore) -> None:
    code = (
        "import sys, pathlib; from models.deploy.store import PackageStore\n"
        f"with PackageStore(pathlib.Path(sys.argv[1])).writing('{MODEL}', '{TARGET}') as folder:\n"
        "    (folder / 'unet.xml').write_text('half'); print('writing', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(store.folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None and other.stdout.readline() == "writing\n"
        with pytest.raises(Busy), store.writing(MODEL, TARGET):
            pass
        other.kill()
    assert store.targets(MODEL) == [], "what a dead process left is no package"
    assert read_package(published(store)).name == MODEL


def test_an_error_in_the_middle_publishes_nothing_and_keeps_the_old_package(store: PackageStore) -> None:
    place = published(store)
    with pytest.raises(RuntimeError, match="no operator"), store.writing(MODEL, TARGET) as folder:
        (folder / "unet.xml").write_text("second")
        raise RuntimeError("no operator")
    assert visible(store) == [TARGET]
    assert read_package(place) and (place / "unet.xml").read_text() == "first"


@pytest.mark.parametrize("point", ["write_text", "fsync"])
def test_a_disk_that_fills_publishes_nothing(store: PackageStore, monkeypatch: pytest.MonkeyPatch, point: str) -> None:
    place = published(store)

    def full(*args: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match="No space left"), store.writing(MODEL, TARGET) as folder:
        (folder / "half.xml").write_bytes(b"half")
        with monkeypatch.context() as patch:
            if point == "write_text":  # deploy.json is the last file that is written
                patch.setattr(Path, "write_text", full)
                write_manifest(folder, {})
        write(folder, "second")
        monkeypatch.setattr(os, "fsync", full)
    assert visible(store) == [TARGET] and (place / "unet.xml").read_text() == "first"
    monkeypatch.undo()
    published(store, "third")
    assert (place / "unet.xml").read_text() == "third"


def test_what_dead_processes_left_goes_with_the_next_package_or_at_once(store: PackageStore) -> None:
    place = published(store)
    dead, other = (place.with_name(f"{target}.dead.partial") for target in (TARGET, "openvino-int8"))
    for each in (dead, other):
        each.mkdir()
        (each / "unet.bin").write_bytes(b"half")
    assert store.targets(MODEL) == [TARGET]
    published(store, "second")
    assert not dead.exists() and other.exists()
    store.clean(MODEL, "openvino-int8")
    store.clean("nothing", TARGET)
    assert visible(store) == [TARGET] and not (store.folder / "nothing").exists()


def test_cleaning_leaves_what_is_being_written(store: PackageStore) -> None:
    with store.writing(MODEL, TARGET) as folder:
        store.clean(MODEL, TARGET)
        write(folder, "first")
    assert store.targets(MODEL) == [TARGET]


def test_the_version_changes_with_packages_that_are_published_only(store: PackageStore) -> None:
    assert store.version(MODEL) is None
    with store.writing(MODEL, TARGET) as folder:
        write(folder, "first")
        assert store.version(MODEL) is None
    versions = [store.version(MODEL)]
    published(store, "second")
    versions.append(store.version(MODEL))
    store.remove(MODEL, TARGET)
    assert store.version(MODEL) is None and None not in versions and versions[0] != versions[1]
    assert store.version("another") is None


def test_a_reader_of_the_old_package_keeps_what_it_has_open(store: PackageStore) -> None:
    place = published(store)
    with (place / "unet.xml").open() as file:
        published(store, "second")
        assert file.read() == "first"
    assert (place / "unet.xml").read_text() == "second" and visible(store) == [TARGET]


def test_a_package_is_removed_whole(store: PackageStore) -> None:
    published(store)
    assert store.remove(MODEL, TARGET) and not store.remove(MODEL, TARGET)
    assert store.targets(MODEL) == [] and visible(store) == []


def test_names_of_models_do_not_leave_the_folder(store: PackageStore) -> None:
    for name in ("../escape", "a/b", "/etc", "名前"):
        with store.writing(name, TARGET) as folder:
            write(folder, "first")
        assert store.place(name, TARGET).parent.parent == store.folder
        assert (store.place(name, TARGET) / MANIFEST).is_file()


def test_a_name_that_no_folder_can_have_is_told_before_a_package_is_made(store: PackageStore) -> None:
    store.require_free("x" * 255, TARGET)
    for name in ("x" * 256, "ä" * 50):
        with pytest.raises(LongName, match="the name is too long for a folder"):
            store.require_free(name, TARGET)
        store.clean(name, TARGET)
        assert (store.targets("tiny"), store.version(name), store.pinned(name)) == ([], None, None)


@pytest.mark.parametrize("model", ["tiny", "timm/resnet18", "..", "ä b%2F"])
def test_a_package_is_found_by_the_name_of_its_model_within_the_folder(tmp_path: Path, model: str) -> None:
    store = PackageStore(tmp_path / "deployed")
    with store.writing(model, "openvino-f32") as folder:
        (folder / "a").touch()
    assert store.models() == [model] and store.targets(model) == ["openvino-f32"]
    assert store.folder in store.place(model, "openvino-f32").resolve().parents
    for target in ("../openvino-f32", "openvino", "", "openvino-f32/..", "OpenVINO-f32"):
        with pytest.raises(NoTarget):
            store.place(model, target)

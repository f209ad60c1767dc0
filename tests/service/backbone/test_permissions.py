"""The permissions of data folders that earlier versions left."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from service.backbone.permissions import image_modes, tighten
from service.backbone.settings import Settings
from service.backbone.store import ImageStore

IMAGE_ID = "00000000-0000-4000-8000-000000000000"


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


@pytest.fixture
def old_data(tmp_path: Path) -> Path:
    """A data folder as an earlier version left it."""
    data = tmp_path / "data"
    for name in (
        "images/00/a.png",
        "inputs/00/b",
        "files/00/c",
        "valkey/appendonlydir/d.aof",
        "loras/film.safetensors",
    ):
        path = data / name
        path.parent.mkdir(parents=True)
        path.write_bytes(b"x")
    (data / "catalog.toml").touch()
    for path in (data, *data.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return data


def test_what_others_could_read_is_private_after_the_start(old_data: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = Settings(data=old_data)
    with caplog.at_level(logging.WARNING):
        tighten(settings)
        tighten(settings)
    assert len(caplog.records) == 1, "nothing was left to change"
    models = old_data / "loras"
    for path in (old_data, *old_data.rglob("*")):
        if path != models and models not in path.parents:
            assert mode(path) == (0o700 if path.is_dir() else 0o600), path
    assert (mode(models), mode(models / "film.safetensors")) == (0o755, 0o644), "folders of models are the user's own"


def test_the_group_may_read_images_if_the_operator_wants_it(old_data: Path) -> None:
    tighten(Settings(data=old_data))
    shared = Settings(data=old_data, group_reads_images=True)
    tighten(shared)
    image = old_data / "images" / "00" / "a.png"
    assert [mode(path) for path in (old_data, image.parent.parent, image.parent, image)] == [0o710, 0o750, 0o750, 0o640]
    assert mode(old_data / "inputs") == 0o700
    store = ImageStore(shared.images_folder, image_modes(shared))
    assert store.write(IMAGE_ID, b"x") and mode(store.find(IMAGE_ID).path) == 0o640


def test_a_folder_that_everybody_may_write_is_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tmp_path.chmod(0o1777)
    tighten(Settings(data=tmp_path))
    assert mode(tmp_path) == 0o1777 and "stay as they are" in caplog.text


def test_links_and_what_they_lead_to_stay_as_they_are(tmp_path: Path) -> None:
    data, elsewhere = tmp_path / "data", tmp_path / "elsewhere.toml"
    (data / "images" / "00").mkdir(parents=True)
    elsewhere.touch()
    elsewhere.chmod(0o644)
    for link in (data / "catalog.toml", data / "images" / "00" / "x.png"):
        link.symlink_to(elsewhere)
    (data / "images" / "00").chmod(0o755)
    tighten(Settings(data=data))
    assert mode(elsewhere) == 0o644 and mode(data / "images" / "00") == 0o700

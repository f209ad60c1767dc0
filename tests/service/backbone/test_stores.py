"""Files of images: named by contents or by id, whole or not there, and gone when they are old."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest

from service.api.sweeping import sweep
from service.backbone.inputs import InputStore
from service.backbone.settings import Settings, SettingsError
from service.backbone.store import ImageStore

IMAGE_ID = "0b7c2f0e-6f0e-4b43-9a55-3f6a3e1f7a11"


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_an_input_is_named_by_its_contents_and_kept_once(tmp_path: Path) -> None:
    store = InputStore(tmp_path)
    sha256 = store.add(b"image")
    assert sha256 == hashlib.sha256(b"image").hexdigest() == store.add(b"image")
    path = store.path(sha256)
    assert path is not None and path.read_bytes() == b"image"
    assert [each for each in tmp_path.glob("*/*")] == [path]
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("name", ["", "0" * 63, "0" * 64, "A" * 64, "../../etc/passwd", "0" * 64 + "\n"])
def test_there_is_no_such_input(tmp_path: Path, name: str) -> None:
    store = InputStore(tmp_path)
    assert store.path(name) is None and not store.touch(name)


def test_old_inputs_go_unless_they_are_used_again(tmp_path: Path) -> None:
    store = InputStore(tmp_path)
    old, used, again = (store.add(data) for data in (b"old", b"used", b"again"))
    for each in (old, used, again):
        path = store.path(each)
        assert path is not None
        age(path, 100)
    assert store.touch(used)
    store.add(b"again")
    assert store.sweep(50) == 1
    assert (store.path(old), store.path(used) is None, store.path(again) is None) == (None, False, False)


def test_finished_images_are_kept_for_ever_unless_a_time_is_set(tmp_path: Path) -> None:
    images, inputs = ImageStore(tmp_path / "images"), InputStore(tmp_path / "inputs")
    images.write(IMAGE_ID, b"x")
    path = images.path(IMAGE_ID)
    assert path is not None
    age(path, 1000)
    sweep(Settings(record_ttl_s=1), images, inputs)
    assert images.path(IMAGE_ID) is not None
    sweep(Settings(image_ttl_s=1001), images, inputs)
    assert images.path(IMAGE_ID) is not None
    sweep(Settings(image_ttl_s=999), images, inputs)
    assert images.path(IMAGE_ID) is None


def test_settings_of_images_are_read() -> None:
    settings = Settings.from_environment({})
    assert (settings.max_body_bytes, settings.max_input_bytes) == (64 << 20, 20 << 20)
    assert (settings.image_ttl_s, settings.fetch_private) == (None, False)
    given = {"PHOTOGRAM_IMAGE_TTL_S": "60", "PHOTOGRAM_FETCH_PRIVATE": "1", "PHOTOGRAM_MAX_INPUT_BYTES": "9"}
    settings = Settings.from_environment(given)
    assert (settings.image_ttl_s, settings.fetch_private, settings.max_input_bytes) == (60, True, 9)
    assert Settings.from_environment({"PHOTOGRAM_IMAGE_TTL_S": "0"}).image_ttl_s is None
    for name, value in (("PHOTOGRAM_FETCH_PRIVATE", "yes"), ("PHOTOGRAM_IMAGE_TTL_S", "-1")):
        with pytest.raises(SettingsError, match=name):
            Settings.from_environment({name: value})

"""Uploaded images: named by their contents, stored once, and removed when they are old."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest

from service.backbone.inputs import InputStore


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_an_input_is_named_by_its_contents_and_kept_once(tmp_path: Path) -> None:
    store = InputStore(tmp_path)
    sha256 = store.add(b"image")
    assert sha256 == hashlib.sha256(b"image").hexdigest() == store.add(b"image")
    stored = store.find(sha256)
    assert stored is not None and stored.read() == b"image"
    path = stored.path
    assert [each for each in tmp_path.glob("*/*")] == [path]
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", ["", "0" * 63, "0" * 64, "A" * 64, "../../etc/passwd", "0" * 64 + "\n"])
def test_there_is_no_such_input(tmp_path: Path, name: str) -> None:
    store = InputStore(tmp_path)
    assert store.find(name) is None and not store.touch(name)


def test_inputs_that_are_used_again_are_young(tmp_path: Path) -> None:
    store = InputStore(tmp_path)
    old, used, again = (store.add(data) for data in (b"old", b"used", b"again"))
    for each in (old, used, again):
        age(store.find(each).path, 100)
    assert store.touch(used)
    store.add(b"again")
    ages = [time.time() - store.find(each).modified_at for each in (old, used, again)]
    assert [age > 50 for age in ages] == [True, False, False]


@pytest.mark.parametrize("damage", [b"", b"imag", b"IMAGE", b"image and more"])
def test_an_input_that_was_damaged_on_the_disk_is_stored_again(tmp_path: Path, damage: bytes) -> None:
    store = InputStore(tmp_path)
    path = store.find(store.add(b"image")).path
    path.write_bytes(damage)
    store.add(b"image")
    assert path.read_bytes() == b"image"

"""The stores of images and files: atomic, and named by UUIDs."""

from __future__ import annotations

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from service.backbone.store import FileStore, ImageStore

UUID = "00000000-0000-4000-8000-000000000000"


def test_the_image_store_gives_only_its_own(tmp_path):
    store = ImageStore(tmp_path)
    image_id = "00000000-0000-4000-8000-000000000000"
    assert store.find(image_id) is None
    assert store.write(image_id, b"one") and store.write(image_id, b"one")
    assert not store.write(image_id, b"two") and not store.write(image_id, b"ONE")
    assert store.find(image_id).read() == b"one"
    assert store.find("../" + image_id) is None
    assert [path.name for path in tmp_path.rglob("*.*")] == [f"{image_id}.png"]


@pytest.mark.parametrize(("store_class", "suffix"), [(ImageStore, ".png"), (FileStore, "")])
def test_what_is_stored_has_its_place_until_it_is_removed(tmp_path, store_class, suffix: str) -> None:
    store, other = store_class(tmp_path), UUID[:-1] + "1"
    store.write(UUID, b"x")
    store.write(other, b"y")
    assert store.find(UUID).path == tmp_path / "00" / f"{UUID}{suffix}"
    for _ in range(2):
        store.remove(other)
        assert store.find(other) is None and store.find(UUID).read() == b"x"
    for name in ("", "../../etc/passwd", UUID.upper().replace("0", "A"), f"{UUID}.png"):
        assert store.find(name) is None


def test_an_id_that_the_store_makes_is_new_and_random(tmp_path) -> None:
    store = FileStore(tmp_path)
    ids = {store.add(b"same") for _ in range(100)}
    assert len(ids) == 100 and all(uuid.UUID(each).version == 4 for each in ids)


def test_of_many_writers_of_one_id_one_wins(tmp_path) -> None:
    store, barrier = ImageStore(tmp_path), threading.Barrier(16)

    def write(number: int) -> bool:
        barrier.wait()
        return store.write(UUID, b"%d" % number)

    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(write, range(16)))
    assert won.count(True) == 1
    assert store.find(UUID).read() == b"%d" % won.index(True)

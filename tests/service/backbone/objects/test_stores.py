"""What both sorts of stores do alike: a folder, and a bucket of a real S3 server."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import pytest

from service.backbone.objects.protocol import ObjectStore

LARGE = bytes(range(256)) * (12 << 12)
"""12 MiB: sent in two parts, and read in pieces."""


def test_an_object_is_there_as_a_whole_or_not_at_all(objects: ObjectStore) -> None:
    assert objects.find("00/a.png") is None
    before = time.time()
    assert objects.create("00/a.png", b"one")
    found = objects.find("00/a.png")
    assert found is not None
    with found.open() as file:
        assert (found.name, found.size_bytes, found.read(), file.read()) == ("00/a.png", 3, b"one", b"one")
    assert before - 2 <= found.modified_at <= time.time() + 2
    objects.remove("00/a.png")
    objects.remove("00/a.png")
    assert objects.find("00/a.png") is None
    for read in (found.read, found.open):
        with pytest.raises(FileNotFoundError):
            read()


def test_an_object_is_not_replaced_by_another_one(objects: ObjectStore) -> None:
    assert [objects.create("00/a", data) for data in (b"one", b"one", b"two", b"ONE!", b"")] == [
        True, True, False, False, False,
    ]  # fmt: skip
    assert objects.find("00/a").read() == b"one"
    objects.put("00/a", b"two")
    objects.put("00/a", b"two")
    assert objects.find("00/a").read() == b"two"


def test_of_many_writers_of_one_name_one_wins(objects: ObjectStore) -> None:
    barrier = threading.Barrier(8)

    def create(number: int) -> bool:
        barrier.wait()
        return objects.create("00/a", b"%d" % number)

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(create, range(8)))
    assert won.count(True) == 1 and objects.find("00/a").read() == b"%d" % won.index(True)


def test_a_large_object_is_read_in_any_piece(objects: ObjectStore) -> None:
    assert objects.create("00/large", LARGE)
    assert objects.create("00/large", LARGE) and not objects.create("00/large", LARGE[:-1] + b"x")
    found = objects.find("00/large")
    assert found.size_bytes == len(LARGE) and found.read() == LARGE
    with found.open() as file:
        for start, size in ((0, 10), (5 << 20, 3 << 20), (len(LARGE) - 5, 100), (7, 1)):
            assert file.seek(start) == start
            assert file.read(size) == LARGE[start : start + size]
        assert file.seek(0, 2) == len(LARGE) and file.read(1) == b""


def test_objects_are_listed_in_the_order_of_their_names(objects: ObjectStore) -> None:
    names = [f"{number % 7:02x}/{number:03}" for number in range(40)]
    for name in names:
        objects.create(name, name.encode())
    listed = list(objects.list())
    assert [(each.name, each.size_bytes) for each in listed] == [(name, len(name)) for name in sorted(names)]
    assert listed[3].read() == listed[3].name.encode()
    assert [each.name for each in islice(objects.list(sorted(names)[10]), 5)] == sorted(names)[11:16]
    assert list(objects.list("zz")) == []


def test_touching_needs_an_object(objects: ObjectStore) -> None:
    assert not objects.touch("00/a")
    objects.put("00/a", b"x")
    assert objects.touch("00/a") and objects.find("00/a").read() == b"x"
    assert time.time() - objects.find("00/a").modified_at <= objects.age_error_s + 2

"""Tries everything that the server needs of a store, with an object of its own."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator

from models.errors import StorageUnavailable
from service.backbone.objects.protocol import ObjectStore

_SIZE_BYTES = 3 << 20
"""Large enough to be read in pieces."""
_START, _PART_BYTES = 1 << 20, 100

Step = tuple[str, Callable[[], bool]]
"""What is tried, and the function that tries it: ``False`` or :class:`StorageUnavailable` is a failure."""


def steps(store: ObjectStore) -> Iterator[Step]:
    """The steps in their order; the last one removes the object."""
    name = f"00/{uuid.uuid4()}.png"
    data = os.urandom(_SIZE_BYTES)
    yield "write an object", lambda: store.create(name, data)
    yield "read it back", lambda: _read(store, name) == data
    yield "read a part of it", lambda: _read(store, name, _START, _PART_BYTES) == data[_START:][:_PART_BYTES]
    yield "not replace it by another one", lambda: not store.create(name, data[1:])
    yield "list it", lambda: next((each.name for each in store.list(name[:-1])), None) == name
    yield "remove it", lambda: _is_removed(store, name)


def _read(store: ObjectStore, name: str, start: int = 0, size: int = -1) -> bytes:
    found = store.find(name)
    if found is None:
        raise StorageUnavailable("the object is not there")
    with found.open() as file:
        file.seek(start)
        return file.read(size)


def _is_removed(store: ObjectStore, name: str) -> bool:
    store.remove(name)
    return store.find(name) is None

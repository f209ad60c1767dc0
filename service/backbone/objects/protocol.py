"""What every store of objects does, whether it is a folder or a part of an S3 bucket.

An object is a number of bytes under a name such as ``0b/0b7c2f0e-....png``. It appears under its name only as a whole.
All methods block, and raise :class:`models.errors.StorageUnavailable` if the store cannot be used now.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Protocol


@dataclass(frozen=True)
class StoredObject(ABC):
    """An object that was found in a store."""

    name: str
    size_bytes: int
    modified_at: float
    """Seconds since the epoch."""

    @abstractmethod
    def open(self) -> BinaryIO:
        """The object as a file that can be read and sought; raises :class:`FileNotFoundError` if it is gone."""

    @abstractmethod
    def read(self) -> bytes:
        """All of its bytes; raises :class:`FileNotFoundError` if it is gone."""

    @abstractmethod
    def link(self, expires_s: int) -> str | None:
        """A URL that gives the object to everybody for so long, without a key; ``None`` if the store has none."""


class ObjectStore(Protocol):
    """Objects by their names."""

    @property
    def place(self) -> str:
        """Where the store is, for its operator: a folder, or a URL without keys."""

    def create(self, name: str, data: bytes) -> bool:
        """Store ``data`` under ``name``; ``False`` if another object has this name, which stays as it is.

        If there is an object with the very same bytes, this is the same as storing it.
        """

    def put(self, name: str, data: bytes) -> None:
        """Store ``data`` under ``name``, whatever is there; its age is 0 then."""

    def find(self, name: str) -> StoredObject | None:
        """The object of that name, or ``None``."""

    def touch(self, name: str) -> bool:
        """Let the age of the object be below :attr:`age_error_s`; ``False`` if there is no such object."""

    @property
    def age_error_s(self) -> float:
        """By how much an object that was touched may look older than that."""

    def remove(self, name: str) -> None:
        """Remove the object, if there is one."""

    def list(self, after: str = "") -> Iterator[StoredObject]:
        """The objects whose names come after ``after``, in the order of their names."""

    def remove_partial(self, older_than_s: float) -> int:
        """Remove what was begun so long ago and never completed; returns how many objects."""

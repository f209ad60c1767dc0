"""The stores of results: images and files, named by random ids; a stored file never changes."""

from __future__ import annotations

import re
import uuid
from itertools import takewhile
from pathlib import Path

from service.backbone.files import PRIVATE, Modes
from service.backbone.objects.folder import FolderObjects
from service.backbone.objects.protocol import ObjectStore, StoredObject

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class _UuidStore:
    """Objects in one place, spread over 256 subfolders by the first two letters of their ids, which are UUIDs.

    Args:
        objects: where they lie; a path is a folder of this machine.
        modes: the permissions of files in such a folder.
    """

    suffix: str

    def __init__(self, objects: ObjectStore | Path, modes: Modes = PRIVATE) -> None:
        self.objects: ObjectStore = FolderObjects(objects, modes) if isinstance(objects, Path) else objects

    def find(self, uuid: str) -> StoredObject | None:
        """The stored object, or ``None`` if there is none or ``uuid`` is not a UUID in lower case.

        Raises:
            StorageUnavailable: the store cannot be reached.
        """
        return self.objects.find(self.name(uuid)) if _UUID.fullmatch(uuid) else None

    def add(self, data: bytes) -> str:
        """Store ``data`` under a new id of 122 random bits, and return the id; raises as :meth:`write`."""
        while not self.write(new_id := str(uuid.uuid4()), data):
            continue
        return new_id

    def write(self, uuid: str, data: bytes) -> bool:
        """Store ``data`` under ``uuid``; ``False`` if another file has this id, which stays as it is.

        Links to images may be cached for ever, so that the bytes behind an id must never change.

        Raises:
            StorageUnavailable: the disk is full, the folder cannot be written, or the service cannot be reached.
        """
        return self.objects.create(self.name(uuid), data)

    def remove(self, uuid: str) -> None:
        """Remove the file, and what was made of it, if there is one; raises as :meth:`find`."""
        self.remove_object(self.name(uuid))

    def remove_object(self, name: str) -> None:
        """As :meth:`remove`, by the name of the object."""
        self.objects.remove(name)

    def name(self, uuid: str) -> str:
        """The name of the object."""
        return f"{uuid[:2]}/{uuid}{self.suffix}"


class ImageStore(_UuidStore):
    """Generated images as PNG files, and what they were converted to."""

    suffix = ".png"

    def converted(self, uuid: str, name: str) -> bytes | None:
        """The conversion ``name`` of the image, as in ``q95.jpg``, if it was kept; raises as :meth:`find`."""
        found = self.objects.find(self._conversion(uuid, name))
        try:
            return None if found is None else found.read()
        except FileNotFoundError:  # it was removed this moment
            return None

    def keep_converted(self, uuid: str, name: str, data: bytes) -> bytes:
        """Keep a conversion of an image for as long as the image; returns what is stored.

        That is another file than ``data`` if somebody else kept one before. Raises as :meth:`write`.
        """
        place = self._conversion(uuid, name)
        self.objects.create(place, data)
        kept = self.converted(uuid, name) or data
        if self.find(uuid) is None:  # removed meanwhile, so that nobody would remove the conversion
            self.objects.remove(place)
        return kept

    def remove_object(self, name: str) -> None:
        """Remove the image whose object is called ``name``, with its conversions; or one of these."""
        self.objects.remove(name)
        if name == self.original(name):
            stem = name.removesuffix(self.suffix)
            for each in takewhile(lambda each: each.name.startswith(f"{stem}."), self.objects.list(stem)):
                self.objects.remove(each.name)

    def original(self, name: str) -> str:
        """The name of the object of the image that the object called ``name`` is, or is a conversion of."""
        return name.partition(".")[0] + self.suffix

    def _conversion(self, uuid: str, name: str) -> str:
        return f"{self.name(uuid).removesuffix(self.suffix)}.{name}"


class FileStore(_UuidStore):
    """Files of any type that jobs made; the record of a job has their names and media types."""

    suffix = ""

"""The input store: uploaded images, named by their SHA-256."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from service.backbone.objects.folder import FolderObjects
from service.backbone.objects.protocol import ObjectStore, StoredObject

_SHA256 = re.compile(r"[0-9a-f]{64}")


class InputStore:
    """Objects in one place, spread over 256 subfolders by the first two letters of their SHA-256.

    Args:
        objects: where they lie; a path is a folder of this machine.
    """

    def __init__(self, objects: ObjectStore | Path) -> None:
        self.objects: ObjectStore = FolderObjects(objects) if isinstance(objects, Path) else objects

    def add(self, data: bytes) -> str:
        """Store ``data`` and return its SHA-256; the age of an upload that is stored already becomes 0 instead.

        A file of this name that holds something else, for example after a failure of the disk, is replaced.

        Raises:
            StorageUnavailable: the disk is full, the folder cannot be written, or the service cannot be reached.
        """
        sha256 = hashlib.sha256(data).hexdigest()
        self.objects.put(self.name(sha256), data)
        return sha256

    def touch(self, sha256: str) -> bool:
        """Start the time to live of the upload again; ``False`` if there is no such upload.

        Raises:
            StorageUnavailable: as :meth:`add`.
        """
        return _SHA256.fullmatch(sha256) is not None and self.objects.touch(self.name(sha256))

    def find(self, sha256: str) -> StoredObject | None:
        """The upload with that SHA-256, or ``None`` if there is none; raises as :meth:`add`."""
        return self.objects.find(self.name(sha256)) if _SHA256.fullmatch(sha256) else None

    def remove_object(self, name: str) -> None:
        """Remove the upload whose object is called ``name``, if there is one; raises as :meth:`add`."""
        self.objects.remove(name)

    def name(self, sha256: str) -> str:
        """The name of the object."""
        return f"{sha256[:2]}/{sha256}"

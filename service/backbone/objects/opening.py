"""Opens the stores that the settings name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from service.backbone.files import PRIVATE, Modes
from service.backbone.inputs import InputStore
from service.backbone.objects.folder import FolderObjects
from service.backbone.objects.protocol import ObjectStore
from service.backbone.permissions import image_modes
from service.backbone.settings import Settings
from service.backbone.storage import StorageMonitor
from service.backbone.store import FileStore, ImageStore

IMAGES, FILES, INPUTS = "images", "files", "inputs"
KINDS = (IMAGES, FILES, INPUTS)
"""The stores, by the names of their folders in the data folder and in a bucket."""


class Opener(Protocol):
    """Opens the store of a kind; files get ``modes`` where there are permissions."""

    def __call__(self, kind: str, modes: Modes = PRIVATE) -> ObjectStore: ...


@dataclass(frozen=True)
class Stores:
    """The three stores of a server."""

    images: ImageStore
    files: FileStore
    inputs: InputStore


def open_stores(settings: Settings) -> Stores:
    """The stores in the bucket that is set, or in the data folder; nothing is read or written yet."""
    opened = opener(settings.storage or str(settings.data), settings)
    images = opened(IMAGES, image_modes(settings))
    return Stores(ImageStore(images), FileStore(opened(FILES)), InputStore(opened(INPUTS)))


def opener(place: str, settings: Settings) -> Opener:
    """Opens the stores in ``place``: the path of a data folder, or ``s3://bucket/prefix``."""
    if not place.startswith("s3://"):
        return lambda kind, modes=PRIVATE: FolderObjects(Path(place) / kind, modes)
    # obstore is 15 MB of machine code, which servers that need no S3 do not load
    from service.backbone.objects.s3 import S3Objects
    from service.backbone.objects.s3_client import open_bucket

    bucket = open_bucket(place, settings)
    return lambda kind, modes=PRIVATE: S3Objects(bucket, kind, place)


def open_monitor(settings: Settings, kinds: Sequence[str], min_free_bytes: int | None = None) -> StorageMonitor:
    """Says whether the stores of these kinds can be written now.

    Args:
        min_free_bytes: as in :class:`StorageMonitor`; a bucket has no limit.
    """
    if settings.storage is None:
        return StorageMonitor([settings.data / kind for kind in kinds], min_free_bytes)
    from service.backbone.objects.s3_client import open_bucket
    from service.backbone.objects.s3_monitor import PROBE_TIMEOUT_S, S3Monitor

    return S3Monitor(open_bucket(settings.storage, settings, timeout_s=PROBE_TIMEOUT_S, retries=0))

"""The gateway's housekeeping: generated images are removed only if they have a time to live."""

from __future__ import annotations

import os
import time
from pathlib import Path

from service.api.sweeping import sweep
from service.backbone.inputs import InputStore
from service.backbone.settings import Settings
from service.backbone.store import FileStore, ImageStore

IMAGE_ID = "0b7c2f0e-6f0e-4b43-9a55-3f6a3e1f7a11"


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_results_are_kept_for_ever_unless_a_time_is_set(tmp_path: Path) -> None:
    images, inputs = ImageStore(tmp_path / "images"), InputStore(tmp_path / "inputs")
    files = FileStore(tmp_path / "files")
    for store in (images, files):
        store.write(IMAGE_ID, b"x")
        path = store.path(IMAGE_ID)
        assert path is not None
        age(path, 1000)
    for settings in (Settings(record_ttl_s=1), Settings(image_ttl_s=1001)):
        sweep(settings, images, inputs, files)
        assert images.path(IMAGE_ID) is not None and files.path(IMAGE_ID) is not None
    sweep(Settings(image_ttl_s=999), images, inputs, files)
    assert images.path(IMAGE_ID) is None and files.path(IMAGE_ID) is None

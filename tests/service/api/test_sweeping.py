"""The gateway's housekeeping: generated images are removed only if they have a time to live."""

from __future__ import annotations

import os
import time
from pathlib import Path

from service.api.sweeping import sweep
from service.backbone.inputs import InputStore
from service.backbone.settings import Settings
from service.backbone.store import ImageStore

IMAGE_ID = "0b7c2f0e-6f0e-4b43-9a55-3f6a3e1f7a11"


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


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

"""The image store: finished images as files that appear whole or not at all."""

from __future__ import annotations

import re
from pathlib import Path

from service.backbone.files import remove_old, write_whole

_IMAGE_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class ImageStore:
    """PNG files below one folder, spread over 256 subfolders by the first two letters of their ids."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, image_id: str) -> Path | None:
        """The file of that image, or ``None`` if there is none (or the id is none that we give)."""
        if not _IMAGE_ID.fullmatch(image_id):
            return None
        path = self._place(image_id)
        return path if path.is_file() else None

    def write(self, image_id: str, png: bytes) -> None:
        """Keep ``png`` under ``image_id``, replacing what an earlier try left."""
        write_whole(self._place(image_id), png)

    def sweep(self, ttl_s: float) -> int:
        """Remove the images that are older than ``ttl_s``; gives how many."""
        return remove_old(self._folder, ttl_s)

    def _place(self, image_id: str) -> Path:
        return self._folder / image_id[:2] / f"{image_id}.png"

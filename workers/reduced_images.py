"""Images that were reduced to the size at which a job uses them, kept for later jobs with the same images."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TypeAlias

from PIL.Image import Image

from models.jobs.params import Reduction

KEPT_MAX_PX = 1 << 24

Key: TypeAlias = tuple[str, bool, Reduction]
"""The source, whether it was read as a mask, and what it was reduced to."""


class ReducedImages:
    """The images used last, up to a number of pixels; safe to use from several threads.

    Only for sources that always name the same image, and for images that nobody changes.
    """

    def __init__(self, max_px: int = KEPT_MAX_PX) -> None:
        self._max_px, self._px = max_px, 0
        self._kept: OrderedDict[Key, Image] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Key) -> Image | None:
        """The image, if it is kept."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def add(self, key: Key, image: Image) -> None:
        """Keep ``image``, and forget those that were not used for longest if there are too many pixels."""
        with self._lock:
            if key in self._kept:
                return
            self._kept[key] = image
            self._px += image.width * image.height
            while self._px > self._max_px:
                _, dropped = self._kept.popitem(last=False)
                self._px -= dropped.width * dropped.height

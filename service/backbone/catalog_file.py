"""The catalog on disk, reloaded when its file or a folder of auxiliary models beside it changes."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from models.catalog.catalog import EXTRAS, Catalog
from models.catalog.weights import walk
from models.errors import CatalogError

log = logging.getLogger(__name__)


class CatalogFile:
    """Returns the current catalog; a file that is not valid is logged, and the last valid catalog stays in use."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._folders = self._below()
        self._stamp = self._look()
        self._catalog = Catalog.load(path)
        self._lock = threading.Lock()

    def current(self) -> Catalog:
        """The catalog as it is on disk now."""
        with self._lock:
            stamp = self._look()
            if stamp != self._stamp:
                self._folders = self._below()
                self._stamp = self._look()
                self._reload()
            return self._catalog

    def _reload(self) -> None:
        try:
            self._catalog = Catalog.load(self._path)
        except (CatalogError, OSError) as error:
            log.error("the new catalog is not valid, and the last one stays in use: %s", error)

    def _look(self) -> tuple[tuple[int, int] | None, ...]:
        return tuple(_stamp(path) for path in (self._path, *self._folders))

    def _below(self) -> list[Path]:
        """The folders of auxiliary models, also those that do not exist yet, and all folders below them.

        A folder changes when an entry is added or removed, so that new folders are seen by the one above.
        """
        tops = [self._path.parent / sort for sort in EXTRAS]
        return [*tops, *(folder for top in tops for folder, _ in walk(top) if folder != top)]


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size

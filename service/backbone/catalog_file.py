"""The catalog on disk, read anew whenever its file has changed."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from models.catalog import Catalog
from models.errors import CatalogError

log = logging.getLogger(__name__)


class CatalogFile:
    """Gives the current catalog; a broken edit is logged and the last good catalog kept."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = self._look()
        self._catalog = Catalog.load(path)
        self._lock = threading.Lock()

    def current(self) -> Catalog:
        """The catalog as the file has it now."""
        with self._lock:
            stamp = self._look()
            if stamp != self._stamp:
                self._stamp = stamp
                self._reload()
            return self._catalog

    def _reload(self) -> None:
        try:
            self._catalog = Catalog.load(self._path)
        except (CatalogError, OSError) as error:
            log.error("the catalog is kept as it was: %s", error)

    def _look(self) -> tuple[int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size

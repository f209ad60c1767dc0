"""Progress on its way to the ledger: a thread that writes the latest step of each row, never holding up the device."""

from __future__ import annotations

import base64
import logging
import threading
import time
from dataclasses import dataclass
from io import BytesIO

from PIL import Image
from redis.exceptions import RedisError

from workers.batch_worker import BatchWorker
from workers.slots import Slot

log = logging.getLogger(__name__)

_PAUSE_S = 0.05
_REDIS_PAUSE_S = 1.0
PREVIEW_MAX_PX = 256


@dataclass(frozen=True)
class _Latest:
    slot: Slot
    step: int
    steps: int
    preview: Image.Image | None
    loading: str | None = None
    """What the row waits for, before its first step."""


class Report(threading.Thread):
    """Takes notes at any rate and writes at most twenty times a second, the latest of each row."""

    def __init__(self, worker: BatchWorker) -> None:
        super().__init__(name="report", daemon=True)
        self._worker = worker
        self._latest: dict[str, _Latest] = {}
        self._lock = threading.Lock()
        self._noted = threading.Event()

    def note(self, slot: Slot, step: int, steps: int, preview: Image.Image | None) -> None:
        """Remember how far the row is; returns at once."""
        with self._lock:
            earlier = self._latest.get(slot.row_id)
            kept = preview or (earlier.preview if earlier else None)
            self._latest[slot.row_id] = _Latest(slot, step, steps, kept)
        self._noted.set()

    def note_loading(self, slot: Slot, name: str) -> None:
        """Remember what the row waits for; returns at once."""
        with self._lock:
            self._latest[slot.row_id] = _Latest(slot, 0, slot.record.steps, None, name)
        self._noted.set()

    def run(self) -> None:
        """Write what was noted, for as long as the process lives."""
        while True:
            self._noted.wait()
            self._noted.clear()
            with self._lock:
                batch, self._latest = self._latest, {}
            try:
                for latest in batch.values():
                    self._write(latest)
            except RedisError as error:
                log.warning("the progress of %d jobs was not written: %s", len(batch), error)
                time.sleep(_REDIS_PAUSE_S)
            time.sleep(_PAUSE_S)

    def _write(self, latest: _Latest) -> None:
        slot, preview = latest.slot, latest.preview
        url = None if preview is None else _data_url(preview)
        verdict = self._worker.ledger.progress(
            slot.job_id, slot.row_id, latest.step, latest.steps, preview=url, loading=latest.loading
        )
        if verdict != "go" and self._worker.slot(slot.row_id) is not None:
            self._worker.canceled.add(slot.row_id)


def _data_url(preview: Image.Image) -> str:
    small = preview.copy()
    small.thumbnail((PREVIEW_MAX_PX, PREVIEW_MAX_PX))
    buffer = BytesIO()
    small.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()

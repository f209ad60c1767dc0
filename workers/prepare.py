"""The first stage: takes jobs while there is room, has prompts rewritten and images loaded, keeps suspects apart."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from models.errors import InternalFailure, JobFailure
from workers.batch_worker import BatchWorker
from workers.finish import Finish
from workers.images import ImageLoader
from workers.rewriting import Rewriting, wants_rewrite
from workers.slots import Slot

log = logging.getLogger(__name__)

PREFETCH = 2
"""How many jobs wait for a place among those that are drawn; the rest is left in the queue, for any worker."""
LOADERS = 4
"""Threads that load images."""
PREPARED_MAX = 8
"""Jobs whose prompt is being rewritten or whose images are being loaded; they take no place of those to be drawn."""
_POLL_S = 0.02
_REDIS_PAUSE_S = 1.0


class Prepare(threading.Thread):
    """Feeds ``ready`` with jobs that lack nothing; a job that ended two workers waits until it has no neighbour."""

    def __init__(
        self,
        worker: BatchWorker,
        finish: Finish,
        loader: ImageLoader,
        rewriting: Rewriting,
        waiting: Callable[[], int],
    ) -> None:
        super().__init__(name="prepare", daemon=True)
        self.ready: queue.SimpleQueue[Slot] = queue.SimpleQueue()
        self._worker, self._finish, self._loader, self._rewriting = worker, finish, loader, rewriting
        self._waiting = waiting
        self._loading: queue.SimpleQueue[Slot] = queue.SimpleQueue()
        self._prepared_ids: set[str] = set()
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Take no more jobs; returns once none can appear any more."""
        self._stopping.set()
        self.join()
        self._rewriting.stop()

    def run(self) -> None:
        """Take jobs until stopped; a Redis that is away is waited for."""
        self._rewriting.start()
        for number in range(LOADERS):
            threading.Thread(target=self._load_for_ever, name=f"load-{number}", daemon=True).start()
        while not self._stopping.is_set():
            try:
                self._turn()
            except (RedisConnectionError, RedisTimeoutError):
                log.warning("Redis does not answer; trying again")
                self._stopping.wait(_REDIS_PAUSE_S)
            except Exception:
                log.exception("a job could not be taken")
                self._stopping.wait(_REDIS_PAUSE_S)

    def _turn(self) -> None:
        if not self._has_room():
            time.sleep(_POLL_S)
            return
        slot = self._worker.take(timeout_s=1)
        if slot is None:
            return
        if slot.is_suspect:
            self._wait_for_held(1)
            slot.taken_at = time.monotonic()  # its neighbours' time is not its own
            self._pass_on(slot)
            self._wait_for_held(0)
        else:
            self._pass_on(slot)

    def _has_room(self) -> bool:
        return len(self._prepared_ids) < PREPARED_MAX and self.ready.qsize() + self._waiting() < PREFETCH

    def _wait_for_held(self, count: int) -> None:
        while len(self._worker.slots) > count and not self._stopping.is_set():
            time.sleep(_POLL_S)

    def _pass_on(self, slot: Slot) -> None:
        """Call the job ready: at once if it starts from no image and its prompt stays as it is."""
        is_rewritten = wants_rewrite(slot)
        if not is_rewritten and not any(True for _ in slot.record.params.sources):
            self.ready.put(slot)
            return
        self._prepared_ids.add(slot.row_id)
        if is_rewritten:
            self._rewriting.begin(slot, self._loading.put)
        else:
            self._loading.put(slot)

    def _load_for_ever(self) -> None:
        while True:
            slot = self._loading.get()
            try:
                self._load(slot)
            finally:
                self._prepared_ids.discard(slot.row_id)

    def _load(self, slot: Slot) -> None:
        """Load the job's images; one that fails ends this job only, one that was canceled meanwhile is dropped."""
        if self._worker.slot(slot.row_id) is None:
            return
        self._note_rewrite(slot)
        try:
            slot.images = self._loader.load(slot.record.params)
        except JobFailure as failure:
            self._fail(slot, failure)
        except Exception:
            log.exception("the images of job %s could not be loaded", slot.job_id)
            self._fail(slot, InternalFailure("its images could not be loaded"))
        else:
            self.ready.put(slot)

    def _note_rewrite(self, slot: Slot) -> None:
        """Tell the ledger what became of the prompt, if it was to be rewritten."""
        try:
            if slot.record.rewrite is not None:
                self._worker.ledger.note_rewrite(slot.job_id, slot.row_id, slot.record.rewrite)
        except RedisError as error:
            log.warning("what became of the prompt of job %s was not noted: %s", slot.job_id, error)

    def _fail(self, slot: Slot, failure: JobFailure) -> None:
        """End the job, unless it is over; a worker that stops hands it back instead."""
        if not self._stopping.is_set() and self._worker.slot(slot.row_id) is not None:
            self._finish.fail(slot, failure)

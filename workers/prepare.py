"""The first stage: a thread that takes jobs while there is room, and keeps suspects apart."""

from __future__ import annotations

import logging
import queue
import threading
import time

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from workers.batch_worker import BatchWorker
from workers.slots import Slot

log = logging.getLogger(__name__)

PREFETCH = 2
"""Jobs that are taken beyond what can be drawn now, so that a free row finds one waiting."""
_POLL_S = 0.02
_REDIS_PAUSE_S = 1.0


class Prepare(threading.Thread):
    """Feeds ``ready`` with jobs; a job that ended two workers waits until it can run with no neighbour."""

    def __init__(self, worker: BatchWorker, rows: int) -> None:
        super().__init__(name="prepare", daemon=True)
        self.ready: queue.SimpleQueue[Slot] = queue.SimpleQueue()
        self._worker = worker
        self._held_max = rows + PREFETCH
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Take no more jobs; returns once none can appear any more."""
        self._stopping.set()
        self.join()

    def run(self) -> None:
        """Take jobs until stopped; a Redis that is away is waited for."""
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
        if len(self._worker.slots) >= self._held_max:
            time.sleep(_POLL_S)
            return
        slot = self._worker.take(timeout_s=1)
        if slot is None:
            return
        if slot.is_suspect:
            self._wait_for_held(1)
            slot.taken_at = time.monotonic()  # its neighbours' time is not its own
            self.ready.put(slot)
            self._wait_for_held(0)
        else:
            self.ready.put(slot)

    def _wait_for_held(self, count: int) -> None:
        while len(self._worker.slots) > count and not self._stopping.is_set():
            time.sleep(_POLL_S)

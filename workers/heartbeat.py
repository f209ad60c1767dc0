"""Signs of life: a thread that keeps this worker's jobs its own, and ends the process if the device hangs."""

from __future__ import annotations

import logging
import os
import threading

from redis.exceptions import RedisError

from workers.batch_worker import HEARTBEAT_S, BatchWorker

log = logging.getLogger(__name__)

HUNG_GRACE_S = 60.0
"""A job that is held for so long beyond its deadline shows that the drawing thread hangs."""
HUNG_EXIT_CODE = 70


class Heartbeat(threading.Thread):
    """Beats until stopped."""

    def __init__(self, worker: BatchWorker, job_timeout_s: float) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self._worker = worker
        self._hung_after_s = job_timeout_s + HUNG_GRACE_S
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Beat no more."""
        self._stopping.set()
        self.join()

    def run(self) -> None:
        """Beat; a Redis that is away is waited for."""
        while not self._stopping.wait(HEARTBEAT_S):
            self._exit_if_hung()
            try:
                self._worker.beat()
            except RedisError as error:
                log.warning("no sign of life could be given: %s", error)
            except Exception:
                log.exception("looking after the queue failed")

    def _exit_if_hung(self) -> None:
        for slot in self._worker.slots:
            if slot.held_s > self._hung_after_s:
                log.critical("the device hangs on job %s; leaving", slot.job_id)
                os._exit(HUNG_EXIT_CODE)

"""The heartbeat thread, which also ends the process if its device or one of its functions hangs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from redis.exceptions import RedisError

from workers.consumer import Consumer
from workers.exit import end_process
from workers.maintenance import Maintenance
from workers.prepare import Prepare

log = logging.getLogger(__name__)

HEARTBEAT_S = 1.5
HUNG_GRACE_S = 60.0
"""A job that is still held so long after its deadline shows that the thread that runs it hangs."""


class Heartbeat(threading.Thread):
    """Runs the maintenance every 1.5 s until stopped.

    Args:
        longest_call_s: how long the oldest call has been running that no held job stands for any more.
    """

    def __init__(
        self,
        maintenance: Maintenance,
        consumer: Consumer,
        prepare: Prepare,
        job_timeout_s: float,
        longest_call_s: Callable[[], float],
    ) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self._maintenance, self._longest_call_s = maintenance, longest_call_s
        self._consumer, self._prepare = consumer, prepare
        self._hung_after_s = job_timeout_s + HUNG_GRACE_S
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Send no more heartbeats; returns when the thread has ended."""
        self._stopping.set()
        self.join()

    def run(self) -> None:
        """Beat until stopped; goes on when Redis cannot be reached."""
        while not self._stopping.wait(HEARTBEAT_S):
            self._exit_if_hung()
            try:
                self._maintenance.beat()
            except RedisError as error:
                log.warning("no heartbeat could be sent: %s", error)
            except Exception:
                log.exception("the maintenance of the queue failed")

    def _exit_if_hung(self) -> None:
        """End the process: the supervisor starts another one, and RQ delivers the jobs again."""
        hung = [job.job_id for job in self._consumer.held.all() if job.held_s > self._hung_after_s]
        if hung or self._longest_call_s() > self._hung_after_s:
            log.critical("this worker hangs (jobs: %s) and ends", ", ".join(hung) or "canceled ones")
            end_process(self._consumer, self._prepare)

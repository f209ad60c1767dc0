"""Ending a worker process at once: one that has closed everything, that hangs, or that has lost its device."""

from __future__ import annotations

import logging
import os
import sys
from typing import NoReturn

from workers.consumer import Consumer
from workers.held_jobs import Phase
from workers.prepare import Prepare

log = logging.getLogger(__name__)

EXIT_CODE = 70
"""``EX_SOFTWARE``; the supervisor starts another process."""
_STOP_TAKING_S = 2.0


def leave() -> NoReturn:
    """End the process, which has closed everything that others can see.

    The interpreter would free each object of torch and diffusers first: 2.5 s on an idle machine, and on a busy one
    more than a supervisor waits.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(os.EX_OK)


def end_process(consumer: Consumer, prepare: Prepare) -> NoReturn:
    """End the process without waiting for any thread; RQ delivers its jobs again when their executions expire.

    Jobs that have not begun are requeued first: they have no part in the failure, so it counts as no crash of theirs.
    """
    try:
        prepare.stop_taking(_STOP_TAKING_S)  # so that this worker does not take the same jobs again
        for job in reversed(consumer.held.all()):  # each goes to the front of the queue
            if not job.has_begun and job.phase is not Phase.ENDING:
                consumer.requeue(job)
    except Exception:
        log.exception("jobs that wait will be delivered again when their executions expire")
    os._exit(EXIT_CODE)

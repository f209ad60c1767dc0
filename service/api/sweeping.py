"""Regular work of a gateway: the removal of what is kept long enough, and the deadlines of jobs."""

from __future__ import annotations

import asyncio
import logging
from itertools import count

from redis.exceptions import RedisError
from starlette.concurrency import run_in_threadpool

from models.errors import StorageUnavailable
from service.backbone.due import SWEPT_MAX, DueJobs
from service.backbone.files import ABANDONED_S
from service.backbone.retention import Retention
from service.backbone.scripts import SWEEP_EVERY_S

PARTIAL_EVERY = 60
"""Each so many passes, this machine is searched for what processes never completed."""
DUE_EVERY_S = 1.0

log = logging.getLogger(__name__)


async def sweep_regularly(retention: Retention) -> None:
    """Make a pass at start and then every :data:`SWEEP_EVERY_S` seconds."""
    for number in count():
        try:
            await run_in_threadpool(sweep, retention, with_partial=number % PARTIAL_EVERY == 0)
        except (StorageUnavailable, RedisError) as error:
            log.warning("what is kept long enough could not be removed: %s", error)
        except OSError:
            log.exception("what is kept long enough could not be removed")
        await asyncio.sleep(SWEEP_EVERY_S)


async def handle_due_regularly(due: DueJobs) -> None:
    """Handle the deadlines of jobs that are over, every :data:`DUE_EVERY_S` seconds."""
    while True:
        try:
            while await run_in_threadpool(due.sweep) >= SWEPT_MAX:
                continue
        except (RedisError, OSError) as error:
            log.warning("the deadlines of jobs could not be handled: %s", error)
        except Exception:
            log.exception("the deadlines of jobs could not be handled")
        await asyncio.sleep(DUE_EVERY_S)


def sweep(retention: Retention, *, with_partial: bool) -> None:
    """Make one pass; ``with_partial`` also removes what a killed process left half written."""
    removed = retention.sweep()
    if with_partial:
        removed += retention.remove_partial(ABANDONED_S)
    if removed:
        log.info("removed %d old files", removed)

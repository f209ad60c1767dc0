"""Regular removal of expired uploads, images and files; and deadlines of jobs."""

from __future__ import annotations

import asyncio
import logging

from redis.exceptions import RedisError
from starlette.concurrency import run_in_threadpool

from service.backbone.due import SWEPT_MAX, DueJobs
from service.backbone.files import ABANDONED_S
from service.backbone.inputs import InputStore
from service.backbone.settings import Settings
from service.backbone.store import FileStore, ImageStore

SWEEP_EVERY_S = 3600.0
DUE_EVERY_S = 1.0

log = logging.getLogger(__name__)


async def sweep_regularly(settings: Settings, images: ImageStore, inputs: InputStore, files: FileStore) -> None:
    """Call :func:`sweep` at start and then every :data:`SWEEP_EVERY_S` seconds."""
    while True:
        try:
            await run_in_threadpool(sweep, settings, images, inputs, files)
        except OSError:
            log.exception("old files could not be removed")
        await asyncio.sleep(SWEEP_EVERY_S)


async def handle_due_regularly(due: DueJobs) -> None:
    """Handle the deadlines and removals of jobs that are due, every :data:`DUE_EVERY_S` seconds."""
    while True:
        try:
            while await run_in_threadpool(due.sweep) >= SWEPT_MAX:
                continue
        except (RedisError, OSError) as error:
            log.warning("the deadlines of jobs could not be handled: %s", error)
        except Exception:
            log.exception("the deadlines of jobs could not be handled")
        await asyncio.sleep(DUE_EVERY_S)


def sweep(settings: Settings, images: ImageStore, inputs: InputStore, files: FileStore) -> None:
    """Remove uploads older than ``record_ttl_s``, and images and files older than ``image_ttl_s`` if that is set.

    What a killed process left half written goes too.
    """
    removed = inputs.sweep(settings.record_ttl_s)
    if settings.image_ttl_s is not None:
        removed += images.sweep(settings.image_ttl_s) + files.sweep(settings.image_ttl_s)
    for store in (images, inputs, files):
        removed += store.remove_partial(ABANDONED_S)
    if removed:
        log.info("removed %d old files", removed)

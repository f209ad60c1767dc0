"""The gateway's housekeeping: images that nobody needs any more are removed."""

from __future__ import annotations

import asyncio
import logging

from starlette.concurrency import run_in_threadpool

from service.backbone.inputs import InputStore
from service.backbone.settings import Settings
from service.backbone.store import FileStore, ImageStore

SWEEP_EVERY_S = 3600.0

log = logging.getLogger(__name__)


async def sweep_regularly(settings: Settings, images: ImageStore, inputs: InputStore, files: FileStore) -> None:
    """Sweep now and then for as long as the gateway runs."""
    while True:
        try:
            await run_in_threadpool(sweep, settings, images, inputs, files)
        except OSError:
            log.exception("old images could not be removed")
        await asyncio.sleep(SWEEP_EVERY_S)


def sweep(settings: Settings, images: ImageStore, inputs: InputStore, files: FileStore) -> None:
    """Remove uploads that are older than the records that name them, and results that are older than the image TTL."""
    removed = inputs.sweep(settings.record_ttl_s)
    if settings.image_ttl_s is not None:
        removed += images.sweep(settings.image_ttl_s) + files.sweep(settings.image_ttl_s)
    if removed:
        log.info("removed %d old files", removed)

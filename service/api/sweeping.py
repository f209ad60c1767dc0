"""The gateway's housekeeping: images that nobody needs any more are removed."""

from __future__ import annotations

import asyncio
import logging

from starlette.concurrency import run_in_threadpool

from service.backbone.inputs import InputStore
from service.backbone.settings import Settings
from service.backbone.store import ImageStore

SWEEP_EVERY_S = 3600.0

log = logging.getLogger(__name__)


async def sweep_regularly(settings: Settings, images: ImageStore, inputs: InputStore) -> None:
    """Sweep now and then for as long as the gateway runs."""
    while True:
        try:
            await run_in_threadpool(sweep, settings, images, inputs)
        except OSError:
            log.exception("old images could not be removed")
        await asyncio.sleep(SWEEP_EVERY_S)


def sweep(settings: Settings, images: ImageStore, inputs: InputStore) -> None:
    """Remove uploads as old as the records that name them, and finished images if they are kept for a time only."""
    removed = inputs.sweep(settings.record_ttl_s)
    if settings.image_ttl_s is not None:
        removed += images.sweep(settings.image_ttl_s)
    if removed:
        log.info("removed %d old images", removed)

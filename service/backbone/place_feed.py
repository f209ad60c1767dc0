"""Tells those who watch a waiting job when its place in the queue changes.

A place changes whenever another job of the queue starts, ends or comes. One task for each gateway process reads the
places of all watched jobs together, at most once a second and only after something has changed, so that Redis is not
asked more often when more clients wait.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from redis.exceptions import RedisError

from models.jobs.records import JobRecord
from service.backbone.places import Place, Places
from service.backbone.watch import JobEvent, JobWatcher

PLACE = "queue"
"""The kind of the events; they have no id, because they are not in the stream of the job."""
EVERY_S = 1.0
"""How often places are read at most."""
LATEST_S = 15.0
"""After how long places are read although nothing has changed: a worker that came or died changes the time left."""

log = logging.getLogger(__name__)


@dataclass
class _Followed:
    """A waiting job, how many streams show it, and the place that they were told last."""

    record: JobRecord
    readers: int = 0
    place: Place | None = None


class PlaceFeed:
    """Feeds the streams of one gateway process."""

    def __init__(self, places: Places, watcher: JobWatcher) -> None:
        self._places, self._watcher = places, watcher
        self._followed: dict[str, _Followed] = {}
        self._has_come = asyncio.Event()

    @contextmanager
    def following(self, record: JobRecord) -> Iterator[None]:
        """Tell the watchers of a waiting job its place now, and when it changes, during the block."""
        followed = self._followed.setdefault(record.job_id, _Followed(record))
        followed.readers += 1
        followed.place = None  # this reader has not been told
        self._has_come.set()
        self._watcher.changed.set()
        try:
            yield
        finally:
            followed.readers -= 1
            if not followed.readers:
                del self._followed[record.job_id]

    async def run(self) -> None:
        """Feed the streams until cancelled; without Redis they are told nothing."""
        while True:
            await self._has_come.wait()
            self._has_come.clear()
            while self._followed:
                await self._until_changed()
                try:
                    await self._tell()
                except (RedisError, OSError) as error:
                    log.warning("the places of %d jobs were not read: %s", len(self._followed), error)
                await asyncio.sleep(EVERY_S)

    async def _until_changed(self) -> None:
        try:
            await asyncio.wait_for(self._watcher.changed.wait(), LATEST_S)
        except TimeoutError:
            return
        self._watcher.changed.clear()

    async def _tell(self) -> None:
        asked = list(self._followed.values())
        for followed, place in zip(asked, await self._places.of_all([each.record for each in asked]), strict=True):
            if place != followed.place:
                followed.place = place
                self._watcher.tell(followed.record.job_id, JobEvent("", PLACE, json.dumps(asdict(place))))

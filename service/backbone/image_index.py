"""The images of API keys that can be found by what they show: their fingerprints, in the memory of one gateway process.

Redis is the source of truth: each finished job has the fingerprints of its images in its record, and each owner a
sorted set of such jobs. An index reads what is new before each search, so that all gateways find the same. Jobs that
were deleted or have expired are left out of what is found, and dropped when the set has fewer jobs than the index.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from redis.asyncio import Redis

from models.eyes.encoders import WIDTH, Vectors
from models.eyes.fingerprints import read_fingerprints
from service.backbone.keyspace import owner_fingerprints_key, record_key
from service.backbone.records import FINGERPRINTS

log = logging.getLogger(__name__)

INDEX_BYTES = 256 << 20
"""The memory for all indexes; those of keys that have searched last are kept."""
_CHUNK = 250
"""How many records one round trip reads."""
_OVERLAP_S = 60.0
"""How far the clocks of workers may differ, or a write may be late."""
_ROW_BYTES = 4 * WIDTH + 8 + 200
"""Of one image: its vector, its hash, and about what its two ids take."""


@dataclass(frozen=True)
class IndexedImage:
    """An image that can be found."""

    image_id: str
    job_id: str


class OwnerIndex:
    """The images of one owner."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.images: list[IndexedImage] = []
        self.place_of: dict[str, int] = {}
        """The place of each image, by its id."""
        self.jobs: set[str] = set()
        """All jobs that were read, also those without an image that is left."""
        self.read_until = 0.0
        self._vectors = np.empty((0, WIDTH), np.float32)
        self._hashes = np.empty(0, np.uint64)

    @property
    def bytes(self) -> int:
        """About how much memory it takes."""
        return len(self._vectors) * _ROW_BYTES

    @property
    def vectors(self) -> Vectors:
        """float32 [n, WIDTH], one for each of :attr:`images`. It is never written to again."""
        return self._vectors[: len(self.images)]

    @property
    def hashes(self) -> npt.NDArray[np.uint64]:
        """[n], one for each of :attr:`images`; as :attr:`vectors`."""
        return self._hashes[: len(self.images)]

    def add(self, images: Sequence[IndexedImage], vectors: Vectors, hashes: npt.NDArray[np.uint64]) -> None:
        """Add images behind those that are there."""
        count, needed = len(self.images), len(self.images) + len(images)
        if needed > len(self._vectors):
            room = max(needed, 2 * len(self._vectors), 64)
            self._vectors = _grown(self._vectors, count, (room, WIDTH))
            self._hashes = _grown(self._hashes, count, (room,))
        self._vectors[count:needed], self._hashes[count:needed] = vectors, hashes
        self.images = [*self.images, *images]
        self.place_of |= {image.image_id: count + number for number, image in enumerate(images)}

    def keep(self, jobs: set[str]) -> None:
        """Drop the images of all jobs but ``jobs``."""
        self._keep([place for place, image in enumerate(self.images) if image.job_id in jobs])
        self.jobs &= jobs

    def drop(self, images: set[str]) -> None:
        """Drop images, whose jobs are not read again."""
        self._keep([place for place, image in enumerate(self.images) if image.image_id not in images])

    def _keep(self, places: Sequence[int]) -> None:
        self._vectors, self._hashes = self._vectors[places], self._hashes[places]
        self.images = [self.images[place] for place in places]
        self.place_of = {image.image_id: place for place, image in enumerate(self.images)}


class ImageIndex:
    """The indexes of all owners that have searched lately."""

    def __init__(self, connection: Redis, memory_bytes: int = INDEX_BYTES) -> None:
        self._connection, self._memory_bytes = connection, memory_bytes
        self._owners: OrderedDict[str, OwnerIndex] = OrderedDict()

    async def of(self, owner: str) -> OwnerIndex:
        """The index of ``owner``, with all jobs that have ended; the first call of an owner reads all of them."""
        index = self._owners.setdefault(owner, OwnerIndex())
        self._owners.move_to_end(owner)
        async with index.lock:
            await self._read_new(owner, index)
        self._forget()
        return index

    def _forget(self) -> None:
        """Drop the indexes that were used the longest time ago, until the others fit; the last one always stays."""
        while len(self._owners) > 1 and sum(index.bytes for index in self._owners.values()) > self._memory_bytes:
            self._owners.popitem(last=False)

    async def _read_new(self, owner: str, index: OwnerIndex) -> None:
        key = owner_fingerprints_key(owner)
        since = index.read_until - _OVERLAP_S
        found: Any = await self._connection.zrangebyscore(key, since, "+inf", withscores=True)
        new = [(job.decode(), at) for job, at in found if job.decode() not in index.jobs]
        for first in range(0, len(new), _CHUNK):
            chunk = new[first : first + _CHUNK]
            gone = await self._read(index, [job for job, _ in chunk])
            if gone:
                await self._connection.zrem(key, *gone)
            index.read_until = max(index.read_until, *(at for _, at in chunk))
        if await self._connection.zcard(key) < len(index.jobs):
            left: Any = await self._connection.zrange(key, 0, -1)
            index.keep({job.decode() for job in left})

    async def _read(self, index: OwnerIndex, jobs: Sequence[str]) -> list[str]:
        """Add the images of ``jobs``; returns those whose records are gone."""
        async with self._connection.pipeline(transaction=False) as pipeline:
            for job in jobs:
                pipeline.hget(record_key(job), FINGERPRINTS)
            texts = await pipeline.execute()
        read = [(job, text) for job, text in zip(jobs, texts, strict=True) if text is not None]
        _add(index, [(image, each) for job, text in read for image, each in _fingerprints(job, text)])
        index.jobs |= {job for job, _ in read}
        return [job for job, text in zip(jobs, texts, strict=True) if text is None]


def _fingerprints(job_id: str, text: bytes) -> Iterator[tuple[IndexedImage, str]]:
    """The images of a job, with their fingerprints as they are written; what cannot be read cannot be found."""
    try:
        for image_id, each in json.loads(text).items():
            yield IndexedImage(image_id, job_id), each
    except (ValueError, AttributeError) as error:
        log.warning("images of job %s cannot be searched: %s", job_id, error)


def _add(index: OwnerIndex, found: Sequence[tuple[IndexedImage, str]]) -> None:
    """Add what was ``found``, all at once unless something of it is damaged."""
    if not found:
        return
    try:
        index.add([image for image, _ in found], *read_fingerprints([text for _, text in found]))
    except (ValueError, TypeError) as error:
        if len(found) == 1:
            log.warning("images of job %s cannot be searched: %s", found[0][0].job_id, error)
        else:
            for each in found:
                _add(index, [each])


def _grown(array: Any, count: int, shape: tuple[int, ...]) -> Any:
    """A new array of ``shape`` that begins with the first ``count`` entries of ``array``."""
    grown = np.empty(shape, array.dtype)
    grown[:count] = array[:count]
    return grown

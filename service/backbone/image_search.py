"""Finding images of an API key by what they show: the ones most similar to a text or an image, and near duplicates."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from anyio import CapacityLimiter, to_thread
from PIL.Image import Image as PilImage
from redis.asyncio import Redis

from models.eyes.encoders import Vectors, image_encoder, text_encoder
from models.jobs.records import JobRecord
from models.jobs.results import Image
from service.backbone.image_index import ImageIndex, IndexedImage
from service.backbone.keyspace import record_key
from service.backbone.listing import JobQuery
from service.backbone.near_duplicates import near_duplicates
from service.backbone.watch import JobWatcher

EXAMINED_MAX = 1000
"""How many of the most similar images are looked at for those that pass the filters."""
SHOWN_MAX = 50
"""How many images of one group of near duplicates are shown."""
THREADS = 2
_CHUNK = 100

_T = TypeVar("_T")


@dataclass(frozen=True)
class FoundImage:
    """An image that was found, and its job."""

    record: JobRecord
    image: Image
    similarity: float
    """The cosine of the angle between its vector and that of what was searched for."""


@dataclass(frozen=True)
class DuplicateGroup:
    """Images that are nearly equal."""

    count: int
    images: Sequence[tuple[JobRecord, Image]]
    """The oldest ones, at most :data:`SHOWN_MAX`."""


@dataclass(frozen=True)
class Duplicates:
    """Near duplicates among the images of a key."""

    groups: Sequence[DuplicateGroup]
    total: int
    """How many groups there are."""
    is_complete: bool
    """Whether all images were compared."""


class ImageSearch:
    """Searches, for one gateway process; what computes does so in a few threads of its own."""

    def __init__(self, connection: Redis, watcher: JobWatcher, index: ImageIndex) -> None:
        self._connection, self._watcher, self._index = connection, watcher, index
        self._threads = CapacityLimiter(THREADS)

    async def vector_of_text(self, text: str) -> Vectors:
        """The vector of ``text`` [WIDTH]."""
        return await self._in_thread(lambda: text_encoder().encode([text])[0])

    @staticmethod
    def vector_of_image(image: PilImage) -> Vectors:
        """The vector of ``image``, RGB [WIDTH]; blocks for some milliseconds."""
        return image_encoder().encode(image)

    async def known_vector(self, owner: str, image_id: str) -> Vectors | None:
        """The vector of an image of ``owner``; ``None`` if it cannot be found."""
        index = await self._index.of(owner)
        place = index.place_of.get(image_id)
        return None if place is None else index.vectors[place]

    async def nearest(
        self, owner: str, vector: Vectors, query: JobQuery, *, limit: int, least: float, without: str | None = None
    ) -> list[FoundImage]:
        """The images of ``owner`` most similar to ``vector`` whose jobs fit ``query``, the most similar first.

        Only the :data:`EXAMINED_MAX` most similar ones are looked at.

        Args:
            least: the least similarity.
            without: the id of an image that is left out.
        """
        index = await self._index.of(owner)
        images, vectors = index.images, index.vectors
        ranked = await self._in_thread(lambda: _ranked(vectors, vector, least))
        found: list[FoundImage] = []
        gone: set[str] = set()
        for chunk in _chunks([(images[place], score) for place, score in ranked], limit + 1):
            records = await self._records({image.job_id for image, _ in chunk}, query)
            for each, score in chunk:
                fits, record = records[each.job_id]
                image = _image_of(record, each)
                if image is None or record is None:
                    gone.add(each.image_id)
                elif fits and each.image_id != without:
                    found.append(FoundImage(record, image, score))
            if len(found) >= limit:
                break
        if gone:
            index.drop(gone)
        return found[:limit]

    async def duplicates(self, owner: str, max_distance: int, limit: int) -> Duplicates:
        """The largest groups of images of ``owner`` whose hashes differ in at most ``max_distance`` bits."""
        index = await self._index.of(owner)
        images, hashes = index.images, index.hashes
        found = await self._in_thread(lambda: near_duplicates(hashes.copy(), max_distance))
        groups = []
        for places in found.groups[:limit]:
            shown = [images[place] for place in places[:SHOWN_MAX]]
            records = await self._records({image.job_id for image in shown}, JobQuery())
            present = [(record, _image_of(record, each)) for each in shown for _, record in [records[each.job_id]]]
            kept = [(record, image) for record, image in present if record is not None and image is not None]
            if len(kept) > 1:
                groups.append(DuplicateGroup(len(places) - len(shown) + len(kept), kept))
        return Duplicates(groups, len(found.groups), found.is_complete)

    async def _records(self, jobs: Iterable[str], query: JobQuery) -> dict[str, tuple[bool, JobRecord | None]]:
        """Of each of ``jobs``, whether it fits ``query``, and its record if there is one."""
        names = [*jobs]
        async with self._connection.pipeline(transaction=False) as pipeline:
            for name in names:
                pipeline.hgetall(record_key(name))
            hashes: Sequence[dict[bytes, bytes]] = await pipeline.execute()
        found: dict[str, tuple[bool, JobRecord | None]] = {}
        for name, fields in zip(names, hashes, strict=True):
            record = self._watcher.known(name, fields)
            is_in_time = record is not None and query.after <= record.created_at < query.before
            fits = is_in_time and query.fits({field.decode(): value for field, value in fields.items()})
            found[name] = fits, record
        return found

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        return await to_thread.run_sync(work, limiter=self._threads)


def _ranked(vectors: Vectors, vector: Vectors, least: float) -> list[tuple[int, float]]:
    """The places of the most similar ``vectors`` [n, WIDTH] with their similarities, the most similar first."""
    similarities = vectors @ vector
    places: Any = np.flatnonzero(similarities >= least)
    if len(places) > EXAMINED_MAX:
        places = places[np.argpartition(-similarities[places], EXAMINED_MAX)[:EXAMINED_MAX]]
    places = places[np.lexsort((places, -similarities[places]))]
    return list(zip(places.tolist(), similarities[places].clip(-1, 1).tolist(), strict=True))


def _chunks(ranked: Sequence[tuple[IndexedImage, float]], first: int) -> Iterator[Sequence[tuple[IndexedImage, float]]]:
    """The ``first`` ones, which are enough if all of them fit, and then the others."""
    yield ranked[:first]
    for start in range(first, len(ranked), _CHUNK):
        yield ranked[start : start + _CHUNK]


def _image_of(record: JobRecord | None, indexed: IndexedImage) -> Image | None:
    """The image in its job's record; ``None`` if it was deleted."""
    images = () if record is None else record.images
    return next((image for image in images if image.image_id == indexed.image_id), None)

"""The deletion of what an API key owns: jobs with their events, images and files, and single images.

One script takes a job out of Redis, and notes its images and files as results whose time is over; from then on nobody
sees any part of it. Then they are removed. A process that dies in between loses nothing, because
``service.backbone.retention`` removes what is noted; it also removes the results of a job that a worker still ran.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis import Redis

from service.backbone import scripts, trail
from service.backbone.keyspace import RETENTION_KEY, events_key, owner_jobs_key, record_key
from service.backbone.objects.opening import FILES, IMAGES
from service.backbone.store import FileStore, ImageStore

_DELETED_TOGETHER = 250
"""How many jobs one round trip deletes."""


@dataclass(frozen=True)
class Deletion:
    """What became of the jobs of a key."""

    deleted: int
    running: int
    """Jobs that a worker still runs; they are cancelled, are not shown any more, and are removed when they end."""


class OwnedJobs:
    """Deletes jobs; its methods block, and raise ``StorageUnavailable`` if results cannot be removed until later."""

    def __init__(self, connection: Redis, images: ImageStore, files: FileStore, record_ttl_s: int) -> None:
        self._connection, self._ttl_s = connection, record_ttl_s
        self._stores = {IMAGES: images, FILES: files}
        self._delete = connection.register_script(scripts.delete())
        self._drop_image = connection.register_script(scripts.drop_image())

    def delete_all(self, owner: str) -> Deletion:
        """Delete all jobs of ``owner``; it may be repeated after a failure, and then goes on where it stopped."""
        found: Any = self._connection.zrange(owner_jobs_key(owner), 0, -1)
        job_ids = [job_id.decode() for job_id in found]
        states: list[bytes | None] = []
        for first in range(0, len(job_ids), _DELETED_TOGETHER):
            states += self._delete_some(owner, job_ids[first : first + _DELETED_TOGETHER])
        return Deletion(deleted=states.count(b"ended"), running=states.count(b"running"))

    def delete(self, owner: str, job_id: str) -> bool:
        """Delete one job, whatever its state; ``False`` if ``owner`` has no such job."""
        [state] = self._delete_some(owner, [job_id])
        return state is not None

    def delete_image(self, owner: str, job_id: str, image_id: str) -> bool:
        """Delete one image of a job; ``False`` if ``owner`` has no such job, or the job no such image."""
        gone: Any = self._drop_image(keys=_keys(job_id), args=[repr(time.time()), self._ttl_s, owner, image_id])
        if gone is None:
            return False
        self._remove(gone)
        return True

    def _delete_some(self, owner: str, job_ids: Sequence[str]) -> list[bytes | None]:
        """What became of each of the jobs; ``None`` of one that ``owner`` does not have."""
        arguments: list[str | int] = [repr(time.time()), self._ttl_s, owner, *trail.JOB_FIELDS]
        with self._connection.pipeline(transaction=False) as pipeline:
            for job_id in job_ids:
                self._delete(keys=_keys(job_id), args=arguments, client=pipeline)
            answers: list[Any] = pipeline.execute()
        if unknown := [job_id for job_id, answer in zip(job_ids, answers, strict=True) if answer is None]:
            self._connection.zrem(owner_jobs_key(owner), *unknown)  # their records have expired
        for _, _, ended in filter(None, answers):
            if ended:
                trail.job_ended(ended)
        self._remove([name for _, gone, _ in filter(None, answers) for name in gone])
        return [None if answer is None else answer[0] for answer in answers]

    def _remove(self, names: Sequence[bytes]) -> None:
        """Remove the objects of these names, as ``RETENTION_KEY`` has them."""
        for name in names:
            kind, _, place = name.decode().partition("/")
            self._stores[kind].remove_object(place)
        if names:
            self._connection.zrem(RETENTION_KEY, *names)


def _keys(job_id: str) -> list[str]:
    return [record_key(job_id), events_key(job_id)]

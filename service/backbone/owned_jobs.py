"""The deletion of what an API key owns: jobs with their events, images and files, and single images.

A job is deleted in two steps. A script hides it, cancels it if it has not ended, and notes its removal in ``DUE_KEY``;
from then on nobody sees any part of it. Then its files and its record are removed, once no worker runs it. A process
that dies in between loses nothing: ``service.backbone.due`` finds the note.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis import Redis

from models.jobs.kinds import UnknownKind
from models.jobs.sources import image_sources
from service.backbone import scripts
from service.backbone.keyspace import ORPHANS_KEY, events_key, image_users_key, owner_jobs_key, record_key
from service.backbone.records import UnreadableRecord, is_hidden, read_hash
from service.backbone.store import FileStore, ImageStore

REMOVE = "remove"
"""The event in ``DUE_KEY`` at which a job is removed."""
_HIDDEN_TOGETHER = 250
"""How many jobs one round trip hides."""


@dataclass(frozen=True)
class Deletion:
    """What became of the jobs of a key."""

    deleted: int
    running: int
    """Jobs that a worker still runs; they are cancelled, are not shown any more, and are removed when they end."""


class OwnedJobs:
    """Deletes jobs; its methods block."""

    def __init__(self, connection: Redis, images: ImageStore, files: FileStore, record_ttl_s: int) -> None:
        self._connection, self._images, self._files, self._ttl_s = connection, images, files, record_ttl_s
        self._hide = connection.register_script(scripts.delete())
        self._remove = connection.register_script(scripts.remove())
        self._drop_image = connection.register_script(scripts.drop_image())

    def delete_all(self, owner: str) -> Deletion:
        """Delete all jobs of ``owner``; it may be repeated after a failure, and then goes on where it stopped."""
        found: Any = self._connection.zrange(owner_jobs_key(owner), 0, -1)
        job_ids = [job_id.decode() for job_id in found]
        answers: list[bytes | None] = []
        for first in range(0, len(job_ids), _HIDDEN_TOGETHER):
            answers += self._hide_all(owner, job_ids[first : first + _HIDDEN_TOGETHER])
        for job_id, answer in zip(job_ids, answers, strict=True):
            if answer == b"ended":
                self.remove(job_id)
            elif answer is None:  # its record has expired
                self._connection.zrem(owner_jobs_key(owner), job_id)
        return Deletion(deleted=answers.count(b"ended"), running=answers.count(b"running"))

    def delete(self, owner: str, job_id: str) -> bool:
        """Delete one job, whatever its state; ``False`` if ``owner`` has no such job."""
        answer = self._hide_one(owner, job_id)
        if answer == b"ended":
            self.remove(job_id)
        return answer is not None

    def remove(self, job_id: str) -> bool:
        """Remove a job that is hidden, or whose ``retain_s`` is over; ``False`` if a worker still runs it."""
        if self._hide_one("", job_id) == b"running":
            return False
        fields: Any = self._connection.hgetall(record_key(job_id))
        if is_hidden(fields, time.time()):
            self._remove_files(fields)
        self._remove(keys=_keys(job_id), args=[repr(time.time()), self._ttl_s, job_id])
        return True

    def delete_image(self, owner: str, job_id: str, image_id: str) -> bool:
        """Delete one image of a job; ``False`` if ``owner`` has no such job, or the job no such image."""
        if not self._drop_image(keys=_keys(job_id), args=[repr(time.time()), self._ttl_s, owner, image_id]):
            return False
        self._remove_image(image_id, job_id)
        return True

    def _hide_one(self, owner: str, job_id: str, connection: Redis | None = None) -> Any:
        return self._hide(keys=_keys(job_id), args=[repr(time.time()), self._ttl_s, owner], client=connection)

    def _hide_all(self, owner: str, job_ids: Sequence[str]) -> list[bytes | None]:
        with self._connection.pipeline(transaction=False) as pipeline:
            for job_id in job_ids:
                self._hide_one(owner, job_id, pipeline)
            answers: list[bytes | None] = pipeline.execute()
        return answers

    def _remove_files(self, fields: dict[bytes, bytes]) -> None:
        try:
            record = read_hash(fields)
        except (UnknownKind, UnreadableRecord):
            return  # its results cannot be found
        for image in record.images:
            self._remove_image(image.image_id, record.job_id)
        for file in record.files:
            self._files.remove(file.file_id)
        for image_id in image_sources(record.params):
            self._forget_user(image_id, record.job_id)

    def _remove_image(self, image_id: str, job_id: str) -> None:
        """Remove an image of ``job_id``, unless another job starts from it: then the last such job removes it."""
        if self._is_used(image_id, job_id):
            self._connection.sadd(ORPHANS_KEY, image_id)
        else:
            self._images.remove(image_id)
            self._connection.delete(image_users_key(image_id))

    def _forget_user(self, image_id: str, job_id: str) -> None:
        self._connection.srem(image_users_key(image_id), job_id)
        if self._connection.sismember(ORPHANS_KEY, image_id) and not self._is_used(image_id, job_id):
            self._images.remove(image_id)
            self._connection.srem(ORPHANS_KEY, image_id)

    def _is_used(self, image_id: str, but_for: str) -> bool:
        """Whether a job other than ``but_for``, which is not deleted, starts from the image."""
        users: Any = self._connection.smembers(image_users_key(image_id))
        return any(map(self._is_kept, (user.decode() for user in users if user.decode() != but_for)))

    def _is_kept(self, job_id: str) -> bool:
        status, deleted = self._connection.hmget(record_key(job_id), "status", "deleted")
        return status is not None and deleted is None


def _keys(job_id: str) -> list[str]:
    return [record_key(job_id), events_key(job_id)]

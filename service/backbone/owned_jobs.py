"""The deletion of everything that an API key owns: its jobs, with their images and files."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from redis import Redis

from models.jobs.kinds import UnknownKind
from service.backbone import scripts
from service.backbone.keyspace import events_key, owner_jobs_key, record_key
from service.backbone.records import UnreadableRecord, read_hash
from service.backbone.store import FileStore, ImageStore


@dataclass(frozen=True)
class Deletion:
    """What became of the jobs of a key."""

    deleted: int
    running: int
    """Jobs that a worker still runs; they are cancelled, and can be deleted once they have ended."""


class OwnedJobs:
    """Deletes jobs; its methods block."""

    def __init__(self, connection: Redis, images: ImageStore, files: FileStore, record_ttl_s: int) -> None:
        self._connection, self._images, self._files, self._ttl_s = connection, images, files, record_ttl_s
        self._cancel = connection.register_script(scripts.cancel())

    def delete_all(self, owner: str) -> Deletion:
        """Cancel the jobs of ``owner`` that have not ended, and delete all others with their images and files."""
        found: Any = self._connection.zrange(owner_jobs_key(owner), 0, -1)
        are_deleted = [self._delete(owner, job_id.decode()) for job_id in found]
        return Deletion(deleted=sum(are_deleted), running=len(are_deleted) - sum(are_deleted))

    def _delete(self, owner: str, job_id: str) -> bool:
        keys = [record_key(job_id), events_key(job_id)]
        if self._cancel(keys=keys, args=[repr(time.time()), self._ttl_s]) == b"requested":
            return False
        fields: Any = self._connection.hgetall(record_key(job_id))
        if fields:
            self._remove_results(fields)
        self._connection.delete(*keys)
        self._connection.zrem(owner_jobs_key(owner), job_id)
        return True

    def _remove_results(self, fields: dict[bytes, bytes]) -> None:
        try:
            record = read_hash(fields)
        except (UnknownKind, UnreadableRecord):
            return  # its results cannot be found
        for image in record.images:
            self._images.remove(image.image_id)
        for file in record.files:
            self._files.remove(file.file_id)

"""The bytes that each API key has stored: the scripts that end jobs count results, and what removes results asks here.

A result is counted while ``STORED_KEY`` has its name, and every change is one script, so that what several processes
remove at the same time is subtracted once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from redis import Redis

from service.backbone import scripts
from service.backbone.keyspace import KEY_RECORDS_KEY, RETENTION_CURSORS_KEY, events_key, owner_jobs_key, record_key
from service.backbone.store import ImageStore

_CURSOR, _ALL = "recount", "\x7f"
"""The field of the cursor, the last owner whose jobs were counted; the second is after the id of every owner."""


class StoredBytes:
    """Changes the count; its methods block."""

    def __init__(self, connection: Redis) -> None:
        self._connection = connection
        self._forget = connection.register_script(scripts.forget_stored())
        self._recount = connection.register_script(scripts.recount())

    def forget(self, names: Sequence[str]) -> None:
        """Count objects of these names no longer, which are about to be removed."""
        if names:
            self._forget(args=list(names))

    def recount(self, images: ImageStore, jobs_max: int) -> None:
        """Count what jobs stored that ended before results were counted, which is done once for a server.

        A call goes on after the last owner of the call before, and ends when it has looked at ``jobs_max`` jobs. Jobs
        whose records have expired are not known any more. Raises :class:`models.errors.StorageUnavailable`.
        """
        last: Any = self._connection.hget(RETENTION_CURSORS_KEY, _CURSOR) or b""
        looked_at = 0
        for owner in self._owners_after(last.decode()):
            for job_id in self._jobs(owner):
                self._count(job_id, images)
                looked_at += 1
            self._connection.hset(RETENTION_CURSORS_KEY, _CURSOR, owner)
            if looked_at >= jobs_max:
                return
        self._connection.hset(RETENTION_CURSORS_KEY, _CURSOR, _ALL)

    def _owners_after(self, last: str) -> Iterator[str]:
        if last == _ALL:
            return
        owners: Any = self._connection.hkeys(KEY_RECORDS_KEY)
        yield from (owner for owner in sorted(each.decode() for each in owners) if owner > last)

    def _jobs(self, owner: str) -> Iterator[str]:
        found: Any = self._connection.zrange(owner_jobs_key(owner), 0, -1)
        return (job_id.decode() for job_id in found)

    def _count(self, job_id: str, images: ImageStore) -> None:
        noted, files = self._connection.hmget(record_key(job_id), "images", "files")
        sizes = {file["file_id"]: file["size_bytes"] for file in _listed(files)}
        for image in _listed(noted):
            found = images.find(image["image_id"])
            if found is not None:
                sizes[image["image_id"]] = found.size_bytes
        if sizes:
            self._recount(keys=[record_key(job_id), events_key(job_id)], args=[0, 0, json.dumps(sizes)])


def _listed(field: Any) -> list[dict[str, Any]]:
    """The list in a field of a record; an empty one if the field is missing or damaged."""
    try:
        found = json.loads(field or "[]")
        return [each for each in found if isinstance(each, dict) and {"image_id", "file_id"} & each.keys()]
    except (ValueError, TypeError):
        return []

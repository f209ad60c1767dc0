"""Lists of the jobs of one API key: filters, search in prompts, and a cursor that stays right while jobs arrive.

What a page costs is bounded. A list by tag or metadata reads an index of its own; any other reads the jobs of the key,
the newest first, and looks at no more than :data:`EXAMINED_MAX` of them: a page may then have few jobs, or none,
although more follow.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from redis.asyncio import Redis

from models.errors import PhotogramError
from models.jobs.options import metadata_label, tag_label
from models.jobs.records import JOB_ID_PATTERN, JobRecord
from service.backbone.keyspace import owner_jobs_key, owner_label_key, record_key
from service.backbone.records import label_digest
from service.backbone.watch import JobWatcher

EXAMINED_MAX = 1000
"""How many jobs one page looks at."""
_CHUNK = 250
"""How many jobs one round trip looks at."""
_FIELDS = ("status", "kind", "params", "options")
_CURSOR = re.compile(r"(?P<at>[0-9]{1,12}(?:\.[0-9]{1,20})?) (?P<job>.+)")
_CURSOR_MAX_CHARS = 200


class InvalidCursor(PhotogramError):
    """The cursor is not one that a page gave."""


@dataclass(frozen=True, kw_only=True)
class JobQuery:
    """Which jobs are listed; each filter that is given must hold."""

    statuses: frozenset[str] = frozenset()
    """Any of them; so are ``kinds`` and ``models``."""
    kinds: frozenset[str] = frozenset()
    models: frozenset[str] = frozenset()
    tags: tuple[str, ...] = ()
    """All of them; so is ``metadata``."""
    metadata: tuple[tuple[str, str], ...] = ()
    words: tuple[str, ...] = ()
    """Each must occur in the prompt, in whatever case."""
    after: float = 0.0
    """Accepted at or after this time, in seconds since the epoch."""
    before: float = math.inf
    """Accepted before this time."""
    has_images: bool = False
    """Only jobs that have images."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that a job must have."""
        return (*map(tag_label, self.tags), *(metadata_label(key, value) for key, value in self.metadata))

    @property
    def looks_inside(self) -> bool:
        """Whether records must be looked at to tell which jobs fit: all but the times and one label."""
        return bool(self.statuses or self.kinds or self.models or self.words or self.has_images or len(self.labels) > 1)

    def fits(self, fields: Mapping[str, bytes | None]) -> bool:
        """Whether the job with these fields of its record is listed; one that cannot be read is not."""
        try:
            return self._fits({name: value.decode() for name, value in fields.items() if value is not None})
        except (ValueError, KeyError, TypeError, AttributeError):
            return False

    def _fits(self, text: Mapping[str, str]) -> bool:
        if self.statuses and text["status"] not in self.statuses:
            return False
        if self.kinds and text["kind"] not in self.kinds:
            return False
        if self.has_images and text.get("images", "[]") == "[]":
            return False
        return self._fits_labels(text) and self._fits_params(text)

    def _fits_labels(self, text: Mapping[str, str]) -> bool:
        if not self.labels:
            return True
        options = json.loads(text.get("options", "{}"))
        metadata = options.get("metadata", {})
        has_tags = set(self.tags) <= set(options.get("tags", ()))
        return has_tags and all(metadata.get(key) == value for key, value in self.metadata)

    def _fits_params(self, text: Mapping[str, str]) -> bool:
        if not self.models and not self.words:
            return True
        params = json.loads(text["params"])
        if self.models and params.get("model") not in self.models:
            return False
        prompt = str(params.get("prompt", "")).casefold()
        return all(word.casefold() in prompt for word in self.words)


@dataclass(frozen=True, order=True)
class Cursor:
    """A place in a list: behind the job that was accepted at ``at`` and has this id."""

    at: float
    job_id: str

    def __str__(self) -> str:
        return base64.urlsafe_b64encode(f"{self.at!r} {self.job_id}".encode()).decode().rstrip("=")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a cursor; raises :class:`InvalidCursor`."""
        try:
            if len(text) > _CURSOR_MAX_CHARS:
                raise ValueError
            plain = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode("ascii")
        except ValueError as error:
            raise InvalidCursor("the cursor is not one that a page gave") from error
        found = _CURSOR.fullmatch(plain)
        if found is None or not JOB_ID_PATTERN.fullmatch(found["job"]):
            raise InvalidCursor("the cursor is not one that a page gave")
        return cls(float(found["at"]), found["job"])


@dataclass(frozen=True)
class Page:
    """Some jobs of a list, the newest first."""

    records: Sequence[JobRecord]
    next: Cursor | None
    """Where the next page begins; ``None`` if the list ends here."""


class JobListing:
    """Lists jobs, for one gateway process."""

    def __init__(self, connection: Redis, watcher: JobWatcher) -> None:
        self._connection, self._watcher = connection, watcher

    async def page(self, owner: str, query: JobQuery, limit: int, cursor: Cursor | None = None) -> Page:
        """The next jobs of ``owner`` behind ``cursor``, at most ``limit``.

        Jobs whose records have expired or cannot be read are left out, and so are those of kinds that this process
        does not have.
        """
        found: list[JobRecord] = []
        examined = 0
        while examined < EXAMINED_MAX:
            places = await self._places(owner, query, cursor, limit - len(found) if not query.looks_inside else _CHUNK)
            if not places:
                return Page(found, None)
            fitting = await self._fitting(query, places)
            wanted = fitting[: limit - len(found)]
            found += await self._watcher.read_all([place.job_id for place in wanted])
            is_cut = len(fitting) > len(wanted)
            cursor = wanted[-1] if is_cut else places[-1]
            examined += len(places)
            if len(found) >= limit:
                break
        return Page(found, cursor)

    async def _places(self, owner: str, query: JobQuery, cursor: Cursor | None, count: int) -> list[Cursor]:
        """The next places behind ``cursor``, with whatever jobs there are."""
        key = owner_label_key(owner, label_digest(query.labels[0])) if query.labels else owner_jobs_key(owner)
        highest = f"({query.before!r}" if cursor is None else repr(min(cursor.at, query.before))
        offset = 0
        while True:
            found: Any = await self._connection.zrevrangebyscore(
                key, highest, repr(query.after), start=offset, num=count, withscores=True
            )
            places = [Cursor(at, job_id.decode()) for job_id, at in found]
            behind = places if cursor is None else [place for place in places if place < cursor]
            if behind or len(places) < count:
                return behind
            offset += count  # many jobs were accepted at the time of the cursor

    async def _fitting(self, query: JobQuery, places: Sequence[Cursor]) -> Sequence[Cursor]:
        if not query.looks_inside:
            return places
        names = (*_FIELDS, "images") if query.has_images else _FIELDS
        async with self._connection.pipeline(transaction=False) as pipeline:
            for place in places:
                pipeline.hmget(record_key(place.job_id), names)
            answers = await pipeline.execute()
        fields = (dict(zip(names, values, strict=True)) for values in answers)
        return [place for place, each in zip(places, fields, strict=True) if query.fits(each)]

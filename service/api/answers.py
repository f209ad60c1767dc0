"""Answers to polls, encoded once for as long as the record of the job stays as it is."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from models.jobs.records import JobRecord

ANSWERS_MAX_BYTES = 32 << 20
"""The memory for answers, and for the records that they were made from, in one gateway process."""
_ENTRY_BYTES = 1024
"""About how much memory an entry takes beside its texts."""
_SHARE_MAX = 16
"""An entry larger than the memory divided by this number is not kept: it would drive out many small ones."""


@dataclass(frozen=True)
class _Entry:
    fields: Mapping[bytes, bytes]
    body: bytes
    size_bytes: int


class Answers:
    """Keeps the latest answers, the least recently used ones are dropped first.

    An answer holds for exactly the fields of the record that it was made from. Whoever polls has just read the fields
    from Redis, so a job that was deleted, or changed by anybody, gets no old answer.
    """

    def __init__(self, max_bytes: int = ANSWERS_MAX_BYTES) -> None:
        self._max_bytes, self._held_bytes = max_bytes, 0
        self._entries: OrderedDict[tuple[str, str], _Entry] = OrderedDict()

    @property
    def held_bytes(self) -> int:
        """About how much memory the answers take."""
        return self._held_bytes

    def of(
        self,
        job_id: str,
        variant: str,
        fields: Mapping[bytes, bytes],
        record: Callable[[], JobRecord],
        render: Callable[[JobRecord], bytes],
    ) -> bytes:
        """The answer about the job.

        Args:
            variant: what the answer depends on besides the record, such as the dialect and the address in its links.
            fields: the hash of the record, as Redis has it now, and whatever else the answer is made from.
            record: reads the record in ``fields``.
            render: makes the answer from the record, and from what ``variant`` names.
        """
        key = (job_id, variant)
        entry = self._entries.get(key)
        if entry is not None and entry.fields == fields:
            self._entries.move_to_end(key)
            return entry.body
        body = render(record())
        self._keep(key, fields, body)
        return body

    def _keep(self, key: tuple[str, str], fields: Mapping[bytes, bytes], body: bytes) -> None:
        self._drop(key)
        size = _ENTRY_BYTES + sum(len(name) + len(value) for name, value in fields.items()) + len(body)
        if size > self._max_bytes // _SHARE_MAX:
            return
        self._entries[key] = _Entry(fields, body, size)
        self._held_bytes += size
        while self._held_bytes > self._max_bytes:
            self._drop(next(iter(self._entries)))

    def _drop(self, key: tuple[str, str]) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._held_bytes -= entry.size_bytes

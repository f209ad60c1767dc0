"""What the A1111 dialect stores for each API key: its options, its running calls, and the last calls that ended."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from redis.asyncio import Redis

from service.backbone.keyspace import caller_options_key, calls_key, ended_calls_key, events_key

OPTIONS_TTL_S = 30 * 24 * 3600
"""How long a key's options are kept after they were last used."""
CALLS_TTL_S = 24 * 3600
"""How long calls are kept after the last one began; those of a gateway that died are not deleted otherwise."""
ENDED_MAX = 16
_EVENTS_MAX = 32
"""How many of the newest events of a job are searched for a preview."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call that waits for its jobs."""

    task_id: str
    """The id that the client gave it."""
    name: str
    """The route, for example ``txt2img``."""
    job_ids: tuple[str, ...]
    started_at: float
    """Seconds since the epoch."""


class Callers:
    """Reads and writes options and calls of one API key at a time, for one gateway process."""

    def __init__(self, connection: Redis) -> None:
        self._connection = connection

    async def options(self, owner: str) -> dict[str, Any]:
        """The options that the key set."""
        text: Any = await self._connection.getex(caller_options_key(owner), ex=OPTIONS_TTL_S)
        return {} if text is None else dict(json.loads(text))

    async def set_options(self, owner: str, changes: Mapping[str, Any]) -> None:
        """Set some options of the key and keep the others."""
        changed = {**await self.options(owner), **changes}
        await self._connection.set(caller_options_key(owner), json.dumps(changed), ex=OPTIONS_TTL_S)

    async def begin(self, owner: str, call: Call) -> None:
        """Add ``call`` to the running calls."""
        key = calls_key(owner)
        async with self._connection.pipeline() as transaction:
            transaction.hset(key, call.job_ids[0], json.dumps(asdict(call)))
            transaction.expire(key, CALLS_TTL_S)
            await transaction.execute()

    async def end(self, owner: str, call: Call) -> None:
        """Move ``call`` from the running calls to those that ended."""
        ended = ended_calls_key(owner)
        async with self._connection.pipeline() as transaction:
            transaction.hdel(calls_key(owner), call.job_ids[0])
            transaction.lpush(ended, call.task_id)
            transaction.ltrim(ended, 0, ENDED_MAX - 1)
            transaction.expire(ended, CALLS_TTL_S)
            await transaction.execute()

    async def calls(self, owner: str) -> list[Call]:
        """The running calls, the oldest first; the gateway that served a call may have died since."""
        found: Any = await self._connection.hvals(calls_key(owner))
        return sorted(map(_read_call, found), key=lambda call: call.started_at)

    async def has_ended(self, owner: str, task_id: str) -> bool:
        """Whether the task is among the last calls that ended."""
        found: Any = await self._connection.lpos(ended_calls_key(owner), task_id)
        return found is not None

    async def preview(self, job_id: str) -> str | None:
        """The job's newest preview as a ``data:`` URL."""
        entries: Any = await self._connection.xrevrange(events_key(job_id), count=_EVENTS_MAX)
        previews = (fields[b"data"] for _, fields in entries if fields[b"kind"] == b"preview")
        newest = next(previews, None)
        return None if newest is None else json.loads(newest)["image"]


def _read_call(text: bytes) -> Call:
    fields = json.loads(text)
    return Call(**{**fields, "job_ids": tuple(fields["job_ids"])})

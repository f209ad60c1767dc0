"""What some dialects keep for each API key between calls: its options, and its calls that are under way."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from redis.asyncio import Redis

from service.backbone.records import events_key

OPTIONS_TTL_S = 30 * 24 * 3600
"""How long a key's options are kept after they were last used."""
CALLS_TTL_S = 24 * 3600
"""When the calls of a gateway that died are forgotten, if the key makes no others."""
ENDED_MAX = 16
_EVENTS_LOOKED_AT = 32


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call that waits for its jobs."""

    task_id: str
    """What the client calls it by."""
    name: str
    """What is done, as ``txt2img``."""
    job_ids: tuple[str, ...]
    started_at: float
    """Seconds since the epoch."""


class Callers:
    """Reads and writes these for one gateway process; nothing here is shared between keys."""

    def __init__(self, connection: Redis) -> None:
        self._connection = connection

    async def options(self, owner: str) -> dict[str, Any]:
        """The options of the key; none is an empty mapping."""
        text: Any = await self._connection.getex(_key(owner, "options"), ex=OPTIONS_TTL_S)
        return {} if text is None else dict(json.loads(text))

    async def set_options(self, owner: str, changes: Mapping[str, Any]) -> None:
        """Change some options of the key."""
        changed = {**await self.options(owner), **changes}
        await self._connection.set(_key(owner, "options"), json.dumps(changed), ex=OPTIONS_TTL_S)

    async def begin(self, owner: str, call: Call) -> None:
        """Note that ``call`` is under way."""
        key = _key(owner, "calls")
        async with self._connection.pipeline() as transaction:
            transaction.hset(key, call.job_ids[0], json.dumps(asdict(call)))
            transaction.expire(key, CALLS_TTL_S)
            await transaction.execute()

    async def end(self, owner: str, call: Call) -> None:
        """Note that ``call`` is over."""
        ended = _key(owner, "ended")
        async with self._connection.pipeline() as transaction:
            transaction.hdel(_key(owner, "calls"), call.job_ids[0])
            transaction.lpush(ended, call.task_id)
            transaction.ltrim(ended, 0, ENDED_MAX - 1)
            transaction.expire(ended, CALLS_TTL_S)
            await transaction.execute()

    async def calls(self, owner: str) -> list[Call]:
        """The key's calls that are under way, the oldest first; some may have lost the gateway that waited for them."""
        found: Any = await self._connection.hvals(_key(owner, "calls"))
        return sorted(map(_read_call, found), key=lambda call: call.started_at)

    async def has_ended(self, owner: str, task_id: str) -> bool:
        """Whether the task is among the key's last few that are over."""
        found: Any = await self._connection.lpos(_key(owner, "ended"), task_id)
        return found is not None

    async def preview(self, job_id: str) -> str | None:
        """The job's newest preview as a ``data:`` URL."""
        entries: Any = await self._connection.xrevrange(events_key(job_id), count=_EVENTS_LOOKED_AT)
        previews = (fields[b"data"] for _, fields in entries if fields[b"kind"] == b"preview")
        newest = next(previews, None)
        return None if newest is None else json.loads(newest)["image"]


def _read_call(text: bytes) -> Call:
    fields = json.loads(text)
    return Call(**{**fields, "job_ids": tuple(fields["job_ids"])})


def _key(owner: str, what: str) -> str:
    return f"photogram:callers:{owner}:{what}"

"""Warm-first routing: a job goes to a worker that has its model loaded, if there is one with room, for a few seconds.

Each worker tells with its signs of life which models it has loaded and whether it has room. A worker that took a job
from the queue whose model it would have to load first sets it aside, once, if another worker says that it has both.
What is set aside is taken by whoever has the model loaded, before anything from the queue; what nobody takes goes back
to the front of the queue, and is then drawn by whoever takes it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from redis import Redis

from service.backbone.records import record_key

LOADED_KEY = "photogram:workers:loaded"
"""A hash: what each worker has loaded, by its name, with the time."""
ASIDE_KEY = "photogram:aside"
"""A sorted set: jobs that were set aside, each behind its model's name, by the time."""
ASIDE_S = 3.0
"""How long a job waits for a worker that has its model."""
FRESH_S = 5.0
"""A worker that did not tell for so long is not counted on."""

_SET_ASIDE = """
if redis.call('HGET', KEYS[3], 'set_aside') == '1' then return 0 end
if redis.call('LREM', KEYS[1], 1, ARGV[1]) == 0 then return 0 end
redis.call('HSET', KEYS[3], 'set_aside', '1')
redis.call('ZADD', KEYS[2], ARGV[3], ARGV[2] .. '\\n' .. ARGV[1])
return 1
"""
_CLAIM = """
local loaded = cjson.decode(ARGV[1])
for _, member in ipairs(redis.call('ZRANGE', KEYS[1], 0, 63)) do
  local model, job = string.match(member, '^(.*)\\n([^\\n]*)$')
  if loaded[model] then
    redis.call('ZREM', KEYS[1], member)
    redis.call('LPUSH', KEYS[2], job)
    return job
  end
end
return false
"""
_RETURN = """
local members = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1])
for _, member in ipairs(members) do
  redis.call('ZREM', KEYS[1], member)
  redis.call('LPUSH', KEYS[2], string.match(member, '([^\\n]*)$'))
end
return #members
"""


@dataclass(frozen=True)
class Standing:
    """What a worker says of itself."""

    loaded: Collection[str]
    """Names of models that it can draw with at once."""
    has_room: bool
    """Whether it would take another job now."""


class WarmRouting:
    """One worker's part in it; safe to use from several threads."""

    def __init__(self, connection: Redis, name: str, standing: Callable[[], Standing]) -> None:
        self._connection, self._name, self._standing = connection, name, standing
        self._others: dict[str, Standing] = {}
        self._set_aside = connection.register_script(_SET_ASIDE)
        self._claim = connection.register_script(_CLAIM)
        self._return = connection.register_script(_RETURN)

    def beat(self, queue_key: str) -> None:
        """Tell what is loaded here, learn what is elsewhere, and return to the queue what waited for too long."""
        own, now = self._standing(), time.time()
        told = {"loaded": sorted(own.loaded), "has_room": own.has_room, "at": now}
        self._connection.hset(LOADED_KEY, self._name, json.dumps(told))
        everybody: Any = self._connection.hgetall(LOADED_KEY)
        self._others = {}
        for name, text in everybody.items():
            note = json.loads(text)
            if name.decode() != self._name and now - note["at"] <= FRESH_S:
                self._others[name.decode()] = Standing(frozenset(note["loaded"]), note["has_room"])
        self._return(keys=[ASIDE_KEY, queue_key], args=[now - ASIDE_S])

    @property
    def has_company(self) -> bool:
        """Whether there are other workers at all."""
        return bool(self._others)

    def sign_off(self) -> None:
        """Be counted on no longer."""
        self._connection.hdel(LOADED_KEY, self._name)

    def claim(self, intermediate_key: str) -> str | None:
        """Move the oldest job that was set aside for a model loaded here to the list ``intermediate_key``; its id."""
        if not self.has_company:
            return None
        loaded = dict.fromkeys(self._standing().loaded, 1)
        if not loaded:
            return None
        found: Any = self._claim(keys=[ASIDE_KEY, intermediate_key], args=[json.dumps(loaded)])
        return found.decode() if found else None

    def set_aside(self, job_id: str, model: str, intermediate_key: str) -> bool:
        """Leave a job that was just taken to another worker, if one has its model and room; whether it was left."""
        if model in self._standing().loaded:
            return False
        if not any(model in other.loaded and other.has_room for other in self._others.values()):
            return False
        keys = [intermediate_key, ASIDE_KEY, record_key(job_id)]
        return bool(self._set_aside(keys=keys, args=[job_id, model, time.time()]))

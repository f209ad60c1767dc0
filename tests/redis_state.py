"""All keys of a Redis database as JSON, so that a test can begin with the state that an earlier version left.

``python -m tests.redis_state URL`` prints the state of a running server.
"""

from __future__ import annotations

import base64
import json
import sys
from typing import Any

from redis import Redis


def dump(redis: Redis) -> dict[str, Any]:
    """Every key with its type, its value and its time to live in milliseconds (-1 for none)."""
    return {_text(key): _dump_key(redis, key) for key in sorted(redis.scan_iter())}


def restore(redis: Redis, state: dict[str, Any]) -> None:
    """Write what :func:`dump` returned into an empty database."""
    for key, entry in state.items():
        _RESTORE[entry["type"]](redis, key, entry["value"])
        if entry["ttl_ms"] >= 0:
            redis.pexpire(key, entry["ttl_ms"])


def _dump_key(redis: Redis, key: bytes) -> dict[str, Any]:
    kind = redis.type(key).decode()
    return {"type": kind, "ttl_ms": redis.pttl(key), "value": _DUMP[kind](redis, key)}


_DUMP = {
    "string": lambda redis, key: _text(redis.get(key)),
    "hash": lambda redis, key: {_text(name): _text(value) for name, value in sorted(redis.hgetall(key).items())},
    "list": lambda redis, key: [_text(value) for value in redis.lrange(key, 0, -1)],
    "set": lambda redis, key: sorted(_text(value) for value in redis.smembers(key)),
    "zset": lambda redis, key: {_text(value): score for value, score in redis.zrange(key, 0, -1, withscores=True)},
    "stream": lambda redis, key: [
        [_text(entry), {_text(name): _text(value) for name, value in fields.items()}]
        for entry, fields in redis.xrange(key)
    ],
}
_RESTORE = {
    "string": lambda redis, key, value: redis.set(key, _bytes(value)),
    "hash": lambda redis, key, value: redis.hset(key, mapping={name: _bytes(each) for name, each in value.items()}),
    "list": lambda redis, key, value: redis.rpush(key, *map(_bytes, value)),
    "set": lambda redis, key, value: redis.sadd(key, *map(_bytes, value)),
    "zset": lambda redis, key, value: redis.zadd(key, value),
    "stream": lambda redis, key, value: [
        redis.xadd(key, {name: _bytes(each) for name, each in fields.items()}, id=entry) for entry, fields in value
    ],
}
_BASE64 = "base64:"


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return _BASE64 + base64.b64encode(value).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text.removeprefix(_BASE64)) if text.startswith(_BASE64) else text.encode()


if __name__ == "__main__":
    json.dump(dump(Redis.from_url(sys.argv[1])), sys.stdout, indent=1)

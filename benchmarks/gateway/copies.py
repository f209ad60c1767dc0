"""Fills the queue with copies of a job, in Redis itself, because a gateway would take minutes for 100,000 jobs."""

from __future__ import annotations

import secrets
from typing import Any

from service.backbone.keyspace import (
    events_key,
    owner_jobs_key,
    owner_queued_key,
    owner_waiting_key,
    record_key,
    rq_job_key,
    turns_key,
    waiting_key,
)

_AT_ONCE = 500
_CHARGE = 327_680
"""The work of a small image, in pixels times steps."""
_COPY = f"""\
local job, name, first, last = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
for number = first, last do
  local id, owner = name .. number, 'copies ' .. number % 10
  for _, pattern in ipairs({{'{record_key("%s")}', '{events_key("%s")}', '{rq_job_key("%s")}'}}) do
    redis.call('COPY', string.format(pattern, job), string.format(pattern, id))
  end
  redis.call('HSET', string.format('{record_key("%s")}', id), 'job_id', id, 'owner', owner)
  redis.call('SADD', string.format('{owner_queued_key("%s")}', owner), id)
  redis.call('ZADD', string.format('{owner_jobs_key("%s")}', owner), number, id)
  redis.call('ZADD', string.format('{owner_waiting_key("%s")}', owner), number, id)
  redis.call('HSET', '{waiting_key()}', id, {_CHARGE})
  redis.call('ZADD', '{turns_key()}', 'NX', 0, owner)
end
"""


async def copy_job(redis: Any, job_id: str, count: int) -> None:
    """Let ``count`` copies of a queued job wait for their turn, those of ten API keys."""
    name = f"copy-{secrets.token_hex(4)}-"
    for first in range(0, count, _AT_ONCE):
        await redis.eval(_COPY, 0, job_id, name, first, min(first + _AT_ONCE, count) - 1)

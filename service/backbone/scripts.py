"""The ledger's transitions as Lua scripts: each checks, changes and announces a job's record in one go.

Every script takes the record's key and the events' key; ``ARGV[1]`` is the time, ``ARGV[2]`` how long a finished job is
kept. A transition by a worker is fenced: it counts only while the record names that worker's execution.
"""

from __future__ import annotations

from service.backbone.records import CANCEL_CHANNEL, WAKE_CHANNEL

EVENTS_MAX = 512
"""About how many events of one job are kept."""
EVENTS_TTL_S = 3600
"""How long the events of a finished job are kept at most: they hold previews, which are large."""

_COMMON = f"""
local record, events, now, ttl = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
local function get(name) return redis.call('HGET', record, name) end
local function emit(kind, data)
  redis.call('XADD', events, 'MAXLEN', '~', {EVENTS_MAX}, '*', 'kind', kind, 'data', data)
  redis.call('PUBLISH', '{WAKE_CHANNEL}', get('job_id'))
end
local function conclude(status)
  redis.call('HSET', record, 'status', status, 'finished_at', now)
  emit('status', status)
  redis.call('EXPIRE', record, ttl)
  redis.call('EXPIRE', events, math.min(tonumber(ttl), {EVENTS_TTL_S}))
end
local function is_ours(execution)
  return get('status') == 'running' and get('execution_id') == execution
end
"""

START = (
    _COMMON
    + """
local execution, crash_limit, crash_message = ARGV[3], tonumber(ARGV[4]), ARGV[5]
local status = get('status')
if status ~= 'queued' and status ~= 'running' then return {'over', 0} end
if get('cancel_requested') == '1' then conclude('canceled') return {'over', 0} end
local crashes = tonumber(get('crashes') or '0')
if status == 'running' then crashes = redis.call('HINCRBY', record, 'crashes', 1) end
if crashes >= crash_limit then
  redis.call('HSET', record, 'error_code', 'worker_crashed', 'error_message', crash_message)
  conclude('failed')
  return {'over', crashes}
end
redis.call('HSETNX', record, 'started_at', now)
redis.call('HSET', record, 'status', 'running', 'execution_id', execution, 'step', 0)
emit('status', 'running')
return {'started', crashes}
"""
)
"""A worker takes a job. ARGV: execution, crash limit, message. Gives ``started`` or ``over``, and the crashes."""

PROGRESS = (
    _COMMON
    + """
local execution, step, steps, kind, data, loading = ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8]
if not is_ours(execution) then return 'over' end
if get('cancel_requested') == '1' then return 'cancel' end
redis.call('HSET', record, 'step', step, 'steps', steps, 'loading', loading)
emit(kind, data)
return 'go'
"""
)
"""A worker got on. ARGV: execution, step, steps, event kind, event data, what is being loaded.

Gives ``go``, ``cancel`` or ``over``.
"""

REWRITTEN = (
    _COMMON
    + """
if not is_ours(ARGV[3]) then return 0 end
redis.call('HSET', record, 'rewrite', ARGV[4])
emit('rewrite', ARGV[4])
return 1
"""
)
"""What became of the job's prompt. ARGV: execution, the rewrite as JSON. Gives 1 if the record took it."""

FINISH = (
    _COMMON
    + """
local execution, status = ARGV[3], ARGV[4]
if not is_ours(execution) then return 0 end
for i = 5, #ARGV, 2 do redis.call('HSET', record, ARGV[i], ARGV[i + 1]) end
if status == 'succeeded' then redis.call('HSET', record, 'step', get('steps')) end
conclude(status)
return 1
"""
)
"""A worker is done. ARGV: execution, final status, then fields and values. Gives 1 if the record took it."""

HAND_BACK = (
    _COMMON
    + """
if not is_ours(ARGV[3]) then return 0 end
redis.call('HSET', record, 'status', 'queued', 'step', 0)
redis.call('HDEL', record, 'execution_id')
emit('status', 'queued')
return 1
"""
)
"""A worker that stops returns a job unharmed. ARGV: execution. Gives 1 if the record took it."""

CANCEL = (
    _COMMON
    + f"""
local status = get('status')
if status == 'queued' then conclude('canceled') return 'canceled' end
if status == 'running' then
  redis.call('HSET', record, 'cancel_requested', '1')
  redis.call('PUBLISH', '{CANCEL_CHANNEL}', get('job_id'))
  return 'requested'
end
return status
"""
)
"""A client gives up. Gives ``canceled``, ``requested`` (a worker has it), or the final status it already had."""

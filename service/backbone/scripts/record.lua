-- What all scripts on a job's record share; the loader puts it in front of each of them.
-- KEYS: the record, its events, for workers whether it is watched. ARGV[1]: the time in seconds since the epoch. ARGV[2]: how long a finished job is kept.
local record, events, now, ttl = KEYS[1], KEYS[2], ARGV[1], ARGV[2]

local function get(name)
  return redis.call('HGET', record, name)
end

local function emit(kind, data)
  redis.call('XADD', events, 'MAXLEN', '~', EVENTS_MAX, '*', 'kind', kind, 'data', data)
  redis.call('PUBLISH', WAKE_CHANNEL, get('job_id'))
end

local function conclude(status)
  redis.call('HSET', record, 'status', status, 'finished_at', now)
  emit('status', status)
  redis.call('EXPIRE', record, ttl)
  redis.call('EXPIRE', events, math.min(tonumber(ttl), EVENTS_TTL_S))
end

-- The fencing token: a worker may write only while the record names its execution.
local function is_ours(execution)
  return get('status') == 'running' and get('execution_id') == execution
end

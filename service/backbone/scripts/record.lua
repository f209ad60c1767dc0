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

-- The key of ``pattern`` for the owner of the job.
local function of_owner(pattern, ...)
  return string.format(pattern, tostring(get('owner')), ...)
end

-- Counts the job among those of its owner that wait, that run, or, with nil, that have ended.
local function count_as(place)
  for _, each in ipairs({OWNER_QUEUED_KEY, OWNER_RUNNING_KEY}) do
    redis.call(each == place and 'SADD' or 'SREM', of_owner(each), get('job_id'))
  end
end

-- Counts the outcome in the day and the month in which the job was accepted. A job that never started costs nothing.
local function count_outcome(status)
  local day = get('charged_on')
  if not day then return end
  for _, period in ipairs({day, string.sub(day, 1, 7)}) do
    local usage = of_owner(USAGE_KEY, period)
    if redis.call('EXISTS', usage) == 1 then
      redis.call('HINCRBY', usage, status, 1)
      if not get('started_at') then redis.call('HINCRBY', usage, 'step_px', string.format('%.0f', 0 - get('step_px'))) end
    end
  end
end

local function is_past(deadline)
  local at = get(deadline)
  return at and tonumber(at) <= tonumber(now)
end

local function due(event)
  return event .. '\n' .. get('job_id')
end

-- A job with a time of its own is removed then; its record outlives it a little, so that its images can be found.
local function keep()
  local retain_s = get('retain_s')
  if retain_s then
    local expires_at = tonumber(now) + tonumber(retain_s)
    redis.call('HSET', record, 'expires_at', string.format('%.17g', expires_at))
    redis.call('ZADD', DUE_KEY, string.format('%.17g', expires_at), due('remove'))
  end
  redis.call('EXPIRE', record, retain_s and retain_s + REMOVAL_GRACE_S or ttl)
  redis.call('EXPIRE', events, math.min(tonumber(retain_s or ttl), EVENTS_TTL_S))
end

local function conclude(status)
  redis.call('HSET', record, 'status', status, 'finished_at', now)
  if status == 'canceled' and is_past('cancel_at') then
    redis.call('HSET', record, 'error_code', CANCEL_AFTER, 'error_message', 'the job did not end within its cancel_after_s')
  end
  if get('start_by') or get('cancel_at') then redis.call('ZREM', DUE_KEY, due('start'), due('end')) end
  count_as(nil)
  count_outcome(status)
  emit('status', status)
  redis.call('UNLINK', string.format(SNAPSHOT_KEY, get('job_id')))
  keep()
end

-- Ends a job that must not start any more; returns whether it did.
local function end_overdue()
  if is_past('cancel_at') then
    conclude('canceled')
    return true
  end
  if is_past('start_by') and not get('started_at') then
    redis.call('HSET', record, 'error_code', START_TIMEOUT, 'error_message', 'no worker started the job within its start_within_s')
    conclude('failed')
    return true
  end
  return false
end

local function request_cancel()
  redis.call('HSET', record, 'cancel_requested', '1')
  redis.call('PUBLISH', CANCEL_CHANNEL, get('job_id'))
end

local function set_back()
  redis.call('HSET', record, 'status', 'queued')
  redis.call('HDEL', record, 'execution_id')
  count_as(OWNER_QUEUED_KEY)
  emit('status', 'queued')
end

-- The fencing token: a worker may write only while the record names its execution.
local function is_ours(execution)
  return get('status') == 'running' and get('execution_id') == execution
end

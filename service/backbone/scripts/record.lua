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

-- A job that waits for its turn is not delivered any more, so that RQ would keep its record of the delivery for ever.
local function leave_queue()
  local queue, job = turns_of(get('queue') or DIFFUSION_QUEUE), get('job_id')
  if withdraw(queue, get('owner'), job) then redis.call('DEL', string.format(RQ_JOB_KEY, job)) end
end

local function conclude(status)
  redis.call('HSET', record, 'status', status, 'finished_at', now)
  leave_queue()
  count_as(nil)
  count_outcome(status)
  emit('status', status)
  redis.call('UNLINK', string.format(SNAPSHOT_KEY, get('job_id')))
  redis.call('EXPIRE', record, ttl)
  redis.call('EXPIRE', events, math.min(tonumber(ttl), EVENTS_TTL_S))
end

-- The fencing token: a worker may write only while the record names its execution.
local function is_ours(execution)
  return get('status') == 'running' and get('execution_id') == execution
end

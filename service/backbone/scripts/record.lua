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
    local is_changed = redis.call(each == place and 'SADD' or 'SREM', of_owner(each), get('job_id')) == 1
    if is_changed and each == OWNER_QUEUED_KEY then count_queued_work(record, each == place and 1 or -1) end
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

local function has_event(events, event)
  return string.find(events, ' ' .. event .. ' ', 1, true) ~= nil
end

-- Queues webhooks of the event: to the endpoints of the owner that want it, and to the URL that came with the job.
local function announce(event)
  local found = redis.call('HGETALL', of_owner(SUBSCRIPTIONS_KEY))
  local url, events = unpack(redis.call('HMGET', record, 'webhook_url', 'webhook_events'))
  if #found == 0 and not url then return end
  local owner, subject, facts = tostring(get('owner')), tostring(get('job_id')), {'queued_at', now, 'job_status', get('status')}
  for _, name in ipairs({'kind', 'step', 'steps'}) do
    facts[#facts + 1], facts[#facts + 2] = name, get(name) or ''
  end
  for i = 1, #found, 2 do
    if has_event(found[i + 1], event) then queue_delivery(owner, found[i], '', event, subject, now, facts) end
  end
  if url and has_event(events or '', event) then
    queue_delivery(owner, 'url_' .. string.sub(redis.sha1hex(url), 1, 16), url, event, subject, now, facts)
  end
end

-- Announces progress, but not more often than receivers can use it.
local function announce_progress()
  if tonumber(now) - tonumber(get('progress_announced_at') or '0') < PROGRESS_EVERY_S then return end
  redis.call('HSET', record, 'progress_announced_at', now)
  announce('progress')
end

-- How long the record and the results of the job are kept at most: by the rule of its key or of the server, or by itself.
local function retention_s()
  local rule, own = tonumber(get('retention_s') or ''), tonumber(get('retain_s') or '')
  return rule and own and math.min(rule, own) or rule or own
end

-- Notes when the results may be removed, as the names of their objects.
local function note_results(retain_s)
  local due = redis.call('TIME')[1] + retain_s
  local function note(id, folder, suffix)
    redis.call('ZADD', RETENTION_KEY, due, folder .. '/' .. string.sub(id, 1, 2) .. '/' .. id .. suffix)
  end
  for _, image in ipairs(cjson.decode(get('images') or '[]')) do note(image.image_id, 'images', '.png') end
  for _, file in ipairs(cjson.decode(get('files') or '[]')) do note(file.file_id, 'files', '') end
end

-- A job that waits for its turn is not delivered any more, so that RQ would keep its record of the delivery for ever.
local function leave_queue()
  local queue, job = turns_of(get('queue') or DIFFUSION_QUEUE), get('job_id')
  if withdraw(queue, get('owner'), job) then redis.call('DEL', string.format(RQ_JOB_KEY, job)) end
end

local function conclude(status)
  local retain_s = retention_s()
  if retain_s then
    note_results(retain_s)
    ttl = math.min(ttl, math.ceil(retain_s))
  end
  redis.call('HSET', record, 'status', status, 'finished_at', now)
  leave_queue()
  count_as(nil)
  count_outcome(status)
  announce('finished')
  emit('status', status)
  redis.call('UNLINK', string.format(SNAPSHOT_KEY, get('job_id')))
  redis.call('EXPIRE', record, ttl)
  redis.call('EXPIRE', events, math.min(tonumber(ttl), EVENTS_TTL_S))
end

-- The fencing token: a worker may write only while the record names its execution.
local function is_ours(execution)
  return get('status') == 'running' and get('execution_id') == execution
end

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

-- The images or files in a field of the record, without entries that are damaged.
local function stored(name)
  local is_json, found = pcall(cjson.decode, get(name) or '[]')
  local whole, id = {}, name == 'images' and 'image_id' or 'file_id'
  for _, each in ipairs(is_json and type(found) == 'table' and found or {}) do
    if type(each) == 'table' and type(each[id]) == 'string' then whole[#whole + 1] = each end
  end
  return whole
end

local function image_object(id)
  return 'images/' .. string.sub(id, 1, 2) .. '/' .. id .. '.png'
end

local function file_object(id)
  return 'files/' .. string.sub(id, 1, 2) .. '/' .. id
end

-- Lets an object that nobody names any more be removed at once.
local function let_object_go(name, gone)
  gone[#gone + 1] = name
  forget_stored(name)
  redis.call('ZADD', RETENTION_KEY, redis.call('TIME')[1], name)
end

-- Notes when an object may be removed.
local function note_object(name, retain_s)
  redis.call('ZADD', RETENTION_KEY, redis.call('TIME')[1] + retain_s, name)
end

-- Counts the results of the job as stored by its owner.
local function count_stored()
  local owner = tostring(get('owner'))
  for _, image in ipairs(stored('images')) do note_stored(image_object(image.image_id), tonumber(image.size_bytes) or 0, owner) end
  for _, file in ipairs(stored('files')) do note_stored(file_object(file.file_id), tonumber(file.size_bytes) or 0, owner) end
end

-- The ids of the images of the job. An execution that lost the job may have stored one under the job's own id, which the
-- results do not name, because the next execution finds the id taken (workers/outputs.py).
local function image_ids()
  local own, ids, is_named = get('image_id'), {}, not get('started_at')
  for _, image in ipairs(stored('images')) do
    ids[#ids + 1] = image.image_id
    is_named = is_named or image.image_id == own
  end
  if not is_named then ids[#ids + 1] = own end
  return ids
end

local function note_results(retain_s)
  for _, id in ipairs(image_ids()) do note_object(image_object(id), retain_s) end
  for _, file in ipairs(stored('files')) do note_object(file_object(file.file_id), retain_s) end
end

-- Whether another job starts from the image.
local function is_used(image_id)
  for _, user in ipairs(redis.call('SMEMBERS', string.format(IMAGE_USERS_KEY, image_id))) do
    if user ~= get('job_id') and redis.call('EXISTS', string.format(RECORD_KEY, user)) == 1 then return true end
  end
  return false
end

-- Lets an image of a deleted job be removed, unless another job starts from it: the last such job to be deleted does so.
local function let_image_go(image_id, gone)
  local users = string.format(IMAGE_USERS_KEY, image_id)
  if is_used(image_id) then
    redis.call('SADD', users, JOB_IS_DELETED)
  else
    redis.call('DEL', users)
    let_object_go(image_object(image_id), gone)
  end
end

-- Lets all be removed that only this job, which is deleted, keeps; returns the names of the objects.
local function let_go()
  local gone = {}
  for _, id in ipairs(image_ids()) do let_image_go(id, gone) end
  for _, file in ipairs(stored('files')) do let_object_go(file_object(file.file_id), gone) end
  for image_id in string.gmatch(get('sources') or '', '[^ ]+') do
    local users = string.format(IMAGE_USERS_KEY, image_id)
    redis.call('SREM', users, get('job_id'))
    if redis.call('SISMEMBER', users, JOB_IS_DELETED) == 1 then let_image_go(image_id, gone) end
  end
  return gone
end

-- A job that waits for its turn is not delivered any more, so that RQ would keep its record of the delivery for ever.
local function leave_queue()
  local queue, job = turns_of(get('queue') or DIFFUSION_QUEUE), get('job_id')
  if withdraw(queue, get('owner'), job) then redis.call('DEL', string.format(RQ_JOB_KEY, job)) end
end

local function is_past(deadline)
  local at = get(deadline)
  return at and tonumber(at) <= tonumber(now)
end

-- The members of ``DUE_KEY`` for the deadlines of the job.
local function deadlines()
  return 'start\n' .. get('job_id'), 'end\n' .. get('job_id')
end

local function conclude(status)
  count_stored()
  local retain_s = retention_s()
  if retain_s then
    note_results(retain_s)
    ttl = math.min(ttl, math.ceil(retain_s))
  end
  redis.call('HSET', record, 'status', status, 'finished_at', now)
  leave_queue()
  if status == 'canceled' and is_past('cancel_at') then
    redis.call('HSET', record, 'error_code', CANCEL_AFTER, 'error_message', 'the job did not end within its cancel_after_s')
  end
  if get('start_by') or get('cancel_at') then redis.call('ZREM', DUE_KEY, deadlines()) end
  count_as(nil)
  count_outcome(status)
  announce('finished')
  emit('status', status)
  for _, each in ipairs({SNAPSHOT_KEY, AGENT_STEPS_KEY, AGENT_SPENT_KEY, AGENT_INPUTS_KEY}) do
    redis.call('UNLINK', string.format(each, get('job_id')))
  end
  redis.call('HDEL', record, 'asked')
  if get('deleted') == '1' then
    let_go()
    ttl = DELETED_TTL_S
  end
  redis.call('EXPIRE', record, ttl)
  redis.call('EXPIRE', events, math.min(tonumber(ttl), EVENTS_TTL_S))
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

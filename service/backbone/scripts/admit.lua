local ask, delivery_data = cjson.decode(ARGV[1]), ARGV[2]
local record, list, fetches, queued, running, bucket, day, month, guard = unpack(KEYS)
local job, now = ask.job_id, ask.now

local function earlier()
  local known = guard and redis.call('GET', guard)
  return redis.call('HGETALL', known and string.format(RECORD_KEY, known) or record)
end

-- What is left of each limit that the owner has, how much of it the job takes and needs, after how many seconds there is
-- more, and after how many all of it is there again.
local function limits()
  local found = {}
  local function add(name, left, takes, needs, more_s, whole_s)
    found[#found + 1] = {name = name, left = left, takes = takes, needs = needs, more_s = more_s, whole_s = whole_s}
  end
  local high = ask.requests_per_minute
  if high and ask.requests > 0 then
    local kept = redis.call('HMGET', bucket, 'left', 'at')
    local left = math.min(high, tonumber(kept[1] or high) + math.max(0, now - tonumber(kept[2] or now)) * high / 60)
    add('requests_per_minute', left, 1, 1, (1 - left) * 60 / high, (high - left + 1) * 60 / high)
  end
  if ask.max_in_flight or ask.max_queued then
    local waiting = redis.call('SCARD', queued)
    if ask.max_in_flight then
      add('max_in_flight', ask.max_in_flight - waiting - redis.call('SCARD', running), 1, ask.room_jobs, 0, 0)
    end
    if ask.max_queued then add('max_queued', ask.max_queued - waiting, 1, ask.room_jobs, 0, 0) end
  end
  if ask.stored_bytes then
    local left = ask.stored_bytes - tonumber(redis.call('HGET', STORED_BYTES_KEY, ask.owner) or '0')
    add('stored_bytes', left, 0, 1, SWEEP_EVERY_S, 0)
  end
  local function add_work(name, period, ends_s)
    if not ask[name] then return end
    local left = ask[name] - tonumber(redis.call('HGET', period, 'step_px') or '0')
    add(name, left, ask.step_px, ask.room_step_px, ends_s, ends_s)
  end
  add_work('units_per_day', day, ask.day_ends_s)
  add_work('units_per_month', month, ask.month_ends_s)
  return found
end

-- The whole number that is shown for what is left; work is shown in cost units.
local function shown(limit, left)
  return math.max(0, math.floor(string.find(limit.name, '^units_') and left / STEP_PX_PER_UNIT or left))
end

local function refusal(found)
  for _, limit in ipairs(found) do
    if limit.left < limit.needs then
      return {'refused', limit.name, shown(limit, limit.left), math.ceil(limit.more_s)}
    end
  end
end

local function take_requests(found)
  for _, limit in ipairs(found) do
    if limit.name == 'requests_per_minute' and limit.left >= 1 then
      redis.call('HSET', bucket, 'left', exact(limit.left - 1), 'at', exact(now))
      redis.call('EXPIRE', bucket, 60)
    end
  end
end

local function count(period)
  if redis.call('HINCRBY', period, 'jobs', 1) == 1 then redis.call('EXPIRE', period, USAGE_TTL_S) end
  redis.call('HINCRBY', period, 'step_px', string.format('%.0f', ask.step_px))
end

-- Adds the job to those of its owner and its labels; now and then, drops those whose records may have expired.
local function add_to(jobs)
  redis.call('ZADD', jobs, exact(now), job)
  redis.call('EXPIRE', jobs, ask.listed_s)
  if ask.is_trimmed then
    redis.call('ZREMRANGEBYSCORE', jobs, '-inf', exact(now - ask.listed_s))
    redis.call('ZREMRANGEBYRANK', jobs, 0, -OWNER_JOBS_MAX - 1)
  end
end

local function write_job()
  redis.call('HSET', record, unpack(ask.fields))
  redis.call('XADD', string.format(EVENTS_KEY, job), '*', 'kind', 'status', 'data', 'queued')
  add_to(string.format(OWNER_JOBS_KEY, ask.owner))
  for _, label in ipairs(ask.labels) do add_to(string.format(OWNER_LABEL_KEY, ask.owner, label)) end
  for _, image_id in ipairs(ask.sources) do
    local users = string.format(IMAGE_USERS_KEY, image_id)
    redis.call('SADD', users, job)
    redis.call('EXPIRE', users, 2 * ask.listed_s)
  end
  for event, at in pairs(ask.deadlines) do redis.call('ZADD', DUE_KEY, exact(at), event .. '\n' .. job) end
  if ask.leased_until ~= cjson.null then redis.call('ZADD', LEASES_KEY, exact(ask.leased_until), job) end
  if guard then redis.call('SET', guard, job, 'EX', IDEMPOTENCY_TTL_S) end
  redis.call('SADD', RQ_QUEUES_KEY, list)
  redis.call('HSET', string.format(RQ_JOB_KEY, job), 'data', delivery_data, unpack(ask.delivery))
end

local found = earlier()
if #found > 0 then return {'earlier', found} end
if ask.leader and redis.call('EXISTS', ask.leader) == 0 then return {'skipped'} end
local turns, allowed = turns_of(ask.queue), limits()
local in_list, in_turns = redis.call('LLEN', list), redis.call('HLEN', turns.waiting)
local is_full = in_list + in_turns + redis.call('ZCARD', fetches) + ask.room_jobs > ask.queue_max
local why_not = refusal(allowed) or (is_full and {'full'} or nil)
if ask.dry_run or not why_not then take_requests(allowed) end
if why_not or ask.dry_run then return why_not or {'accepted'} end
count(day)
count(month)
redis.call('SADD', queued, job)
write_job()
count_queued_work(record, 1)
if in_list + in_turns == 0 then
  redis.call('RPUSH', list, job)
else
  wait_for_turn(turns, ask.owner, job, ask.rank, ask.charge)
end
local answer = {'accepted'}
for _, limit in ipairs(allowed) do
  answer[#answer + 1] = limit.name
  answer[#answer + 1] = shown(limit, limit.left - limit.takes)
  answer[#answer + 1] = math.ceil(limit.whole_s)
end
return answer

local now, queue_max, ask = tonumber(ARGV[1]), tonumber(ARGV[2]), cjson.decode(ARGV[3])
local record, list, fetches, queued, running, bucket, day, month, guard =
  KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8], KEYS[9]

local function earlier()
  local known = guard and redis.call('GET', guard)
  return redis.call('HGETALL', known and string.format(RECORD_KEY, known) or record)
end

local function refused(limit, left, wait_s)
  return {'refused', limit, math.max(0, left), math.ceil(wait_s)}
end

local function requests_left()
  local kept = redis.call('HMGET', bucket, 'left', 'at')
  local since = math.max(0, now - tonumber(kept[2] or now))
  return math.min(ask.requests_per_minute, tonumber(kept[1] or ask.requests_per_minute) + since * ask.requests_per_minute / 60)
end

local function take_request()
  redis.call('HSET', bucket, 'left', string.format('%.17g', requests_left() - 1), 'at', string.format('%.17g', now))
  redis.call('EXPIRE', bucket, 60)
end

-- The refusal of a limit on the work of a day or a month, in pixels times steps.
local function over(limit, period, wait_s)
  if not ask[limit] then return nil end
  local left = ask[limit] - tonumber(redis.call('HGET', period, 'step_px') or '0')
  return left < ask.room_step_px and refused(limit, math.floor(left / 1e6), wait_s) or nil
end

local function refusal()
  if ask.requests_per_minute and ask.requests > 0 and requests_left() < 1 then
    return refused('requests_per_minute', 0, (1 - requests_left()) * 60 / ask.requests_per_minute)
  end
  local waiting = redis.call('SCARD', queued)
  local in_flight = waiting + redis.call('SCARD', running)
  if ask.max_in_flight and in_flight + ask.room_jobs > ask.max_in_flight then
    return refused('max_in_flight', ask.max_in_flight - in_flight, 0)
  end
  if ask.max_queued and waiting + ask.room_jobs > ask.max_queued then
    return refused('max_queued', ask.max_queued - waiting, 0)
  end
  if ask.stored_bytes then
    local left = ask.stored_bytes - tonumber(redis.call('HGET', STORED_BYTES_KEY, ask.owner) or '0')
    if left <= 0 then return refused('stored_bytes', 0, SWEEP_EVERY_S) end
  end
  return over('units_per_day', day, ask.day_ends_s) or over('units_per_month', month, ask.month_ends_s)
end

local function count(period, ttl_s)
  redis.call('HINCRBY', period, 'jobs', 1)
  redis.call('HINCRBY', period, 'step_px', string.format('%.0f', ask.step_px))
  redis.call('EXPIRE', period, ttl_s)
end

local function run_commands(first)
  local at = first
  while at <= #ARGV do
    local length = tonumber(ARGV[at])
    redis.call(unpack(ARGV, at + 1, at + length))
    at = at + 1 + length
  end
end

local found = earlier()
if #found > 0 then return {'earlier', found} end
if ask.leader and redis.call('EXISTS', ask.leader) == 0 then return {'skipped'} end
local turns = turns_of(ask.queue)
local in_list, in_turns = redis.call('LLEN', list), redis.call('HLEN', turns.waiting)
local why_not = refusal()
if in_list + in_turns + redis.call('ZCARD', fetches) + ask.room_jobs > queue_max then why_not = why_not or {'full'} end
local is_counted = ask.requests_per_minute and ask.requests > 0
if ask.dry_run and is_counted and not (why_not and why_not[2] == 'requests_per_minute') then take_request() end
if why_not or ask.dry_run then return why_not or {'accepted'} end
if is_counted then take_request() end
count(day, USAGE_TTL_S)
count(month, USAGE_TTL_S)
redis.call('SADD', queued, ask.job_id)
run_commands(4)
count_queued_work(record, 1)
if in_list + in_turns == 0 then
  redis.call('RPUSH', list, ask.job_id)
else
  wait_for_turn(turns, ask.owner, ask.job_id, ask.rank, ask.charge)
end
return {'accepted'}

local now, lane, id, message_id, outcome, due, entry, wait_s = unpack(ARGV)
local owner, target = string.match(lane, '^([^ ]*) ([^ ]*) ')
local key, health = delivery_key(id), string.format(HEALTH_KEY, owner, target)

local function note_health()
  if outcome == 'delivered' then
    redis.call('HDEL', health, 'failures', 'failing_since', 'paused_until')
    redis.call('HSET', health, 'delivered_at', now)
  else
    redis.call('HSETNX', health, 'failing_since', now)
    local pause_s = math.min(PAUSE_MAX_S, PAUSE_S * 2 ^ (redis.call('HINCRBY', health, 'failures', 1) - 1))
    local paused_until = tonumber(now) + math.max(pause_s, tonumber(wait_s))
    redis.call('HSET', health, 'paused_until', string.format('%.6f', paused_until))
  end
  if redis.call('HEXISTS', health, 'off_at') == 0 then redis.call('EXPIRE', health, HEALTH_TTL_S) end
end

local function note_attempt()
  local log = string.format(LOG_KEY, owner, target)
  redis.call('LPUSH', log, entry)
  redis.call('LTRIM', log, 0, LOG_MAX - 1)
  redis.call('EXPIRE', log, HEALTH_TTL_S)
  redis.call('HINCRBY', key, 'attempts', 1)
  redis.call('HSET', key, 'last_attempt', entry)
  note_health()
end

local function finish_delivery()
  redis.call('ZREM', lane_key(lane), id)
  redis.call('ZREM', string.format(PENDING_KEY, owner), id)
  redis.call('HSET', key, 'status', outcome)
  redis.call('EXPIRE', key, KEPT_S)
  if outcome == 'dead' then
    local dead = string.format(DEAD_KEY, owner)
    redis.call('ZADD', dead, now, id)
    redis.call('ZREMRANGEBYRANK', dead, 0, -DEAD_MAX - 1)
  end
end

redis.call('ZREM', LANE_LEASES_KEY, lane)
local found = redis.call('HMGET', key, 'message_id', 'status')
if not found[1] then
  forget(owner, lane, id)
elseif found[1] == message_id and found[2] == 'pending' then
  if entry ~= '' then note_attempt() end
  if outcome == 'dropped' then
    forget(owner, lane, id)
  elseif outcome == 'pending' then
    redis.call('ZADD', lane_key(lane), due, id)
  else
    finish_delivery()
  end
end
local next_one = redis.call('ZRANGE', lane_key(lane), 0, 0, 'WITHSCORES')
if next_one[1] then
  plan(lane, next_one[2])
  if tonumber(next_one[2]) <= tonumber(now) then wake_sender() end
end
return redis.call('HGET', health, 'failing_since')

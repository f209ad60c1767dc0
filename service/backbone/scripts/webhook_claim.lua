local SCANNED_MAX, BUSY_PAUSE_S = 100, 0.2
local now, leased_until, busy = tonumber(ARGV[1]), ARGV[2], cjson.decode(ARGV[3])

-- What senders held that died or hung.
for _, lane in ipairs(redis.call('ZRANGEBYSCORE', LANE_LEASES_KEY, '-inf', now, 'LIMIT', 0, SCANNED_MAX)) do
  redis.call('ZREM', LANE_LEASES_KEY, lane)
  plan(lane, now)
end

local function claimed(lane)
  local owner, target = string.match(lane, '^([^ ]*) ([^ ]*) ')
  local first = redis.call('ZRANGE', lane_key(lane), 0, 0, 'WITHSCORES')
  if not first[1] then
    redis.call('ZREM', LANES_KEY, lane)
    return nil
  end
  local paused = redis.call('HGET', string.format(HEALTH_KEY, owner, target), 'paused_until')
  local due = math.max(tonumber(first[2]), tonumber(paused or '0'))
  if due <= now and busy[owner] then due = now + BUSY_PAUSE_S end
  if due > now then
    redis.call('ZADD', LANES_KEY, string.format('%.6f', due), lane)
    return nil
  end
  redis.call('ZREM', LANES_KEY, lane)
  redis.call('ZADD', LANE_LEASES_KEY, leased_until, lane)
  return {lane, first[1], redis.call('HGETALL', delivery_key(first[1]))}
end

for _, lane in ipairs(redis.call('ZRANGEBYSCORE', LANES_KEY, '-inf', now, 'LIMIT', 0, SCANNED_MAX)) do
  local found = claimed(lane)
  if found then return found end
end
return false

-- The outbox of webhooks: deliveries wait in lanes, and a sender holds a lane while it makes one attempt.
-- The loader puts it in front of each script that queues, claims, settles or replays deliveries.
local function lane_key(lane) return string.format(LANE_KEY, lane) end
local function delivery_key(id) return string.format(DELIVERY_KEY, id) end

-- Lets one sender look into the outbox at once.
local function wake_sender()
  if redis.call('LLEN', WAKE_SENDER_KEY) == 0 then redis.call('RPUSH', WAKE_SENDER_KEY, '1') end
end

-- Plans the next attempt in a lane. A lane that a sender holds is planned again when that sender is done.
local function plan(lane, due)
  if redis.call('ZSCORE', LANE_LEASES_KEY, lane) then return end
  redis.call('ZADD', LANES_KEY, 'LT', due, lane)
end

-- The deliveries of one job to one receiver are in one lane, and so in order.
local function lane_of(owner, target, subject)
  return owner .. ' ' .. target .. ' ' .. tonumber(string.sub(redis.sha1hex(subject), 1, 4), 16) % LANES_PER_TARGET
end

local function put_in_lane(lane, id, due)
  redis.call('ZADD', lane_key(lane), due, id)
  plan(lane, due)
  wake_sender()
end

local function forget(owner, lane, id)
  redis.call('ZREM', lane_key(lane), id)
  redis.call('ZREM', string.format(PENDING_KEY, owner), id)
  redis.call('DEL', delivery_key(id))
end

-- Queues the delivery of an event; `subject` is the id of its job. One that still waits under the same id is replaced.
local function queue_delivery(owner, target, url, event, subject, now, facts)
  local pending, id = string.format(PENDING_KEY, owner), target .. '.' .. subject .. '.' .. event
  local is_full = redis.call('ZCARD', pending) >= PENDING_MAX and not redis.call('ZSCORE', pending, id)
  if is_full and event ~= 'finished' then return false end
  local lane = lane_of(owner, target, subject)
  if event == 'finished' then forget(owner, lane, target .. '.' .. subject .. '.progress') end
  redis.call('DEL', delivery_key(id))
  redis.call('HSET', delivery_key(id), 'id', id, 'owner', owner, 'target', target, 'url', url, 'event', event,
    'subject', subject, 'lane', lane, 'at', now, 'status', 'pending', 'attempts', '0',
    'message_id', string.format('msg_%s_%s_%.0f', subject, event, tonumber(now) * 1e6), unpack(facts))
  redis.call('ZADD', pending, now, id)
  put_in_lane(lane, id, now)
  return id
end

local now, owner, id = unpack(ARGV)
local key = delivery_key(id)
local found = redis.call('HMGET', key, 'owner', 'status', 'lane', 'target')
if found[1] ~= owner then return 0 end
if found[2] == 'pending' and redis.call('ZSCORE', LANE_LEASES_KEY, found[3]) then return 1 end
redis.call('HSET', key, 'status', 'pending', 'attempts', '0', 'queued_at', now)
redis.call('PERSIST', key)
redis.call('ZREM', string.format(DEAD_KEY, owner), id)
redis.call('ZADD', string.format(PENDING_KEY, owner), now, id)
redis.call('HDEL', string.format(HEALTH_KEY, owner, found[4]), 'paused_until')
put_in_lane(found[3], id, now)
return 1

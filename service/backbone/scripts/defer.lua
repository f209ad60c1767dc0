if redis.call('HGET', KEYS[3], 'set_aside') == '1' then return 0 end
if redis.call('LREM', KEYS[1], 1, ARGV[1]) == 0 then return 0 end
redis.call('HSET', KEYS[3], 'set_aside', '1')
redis.call('ZADD', KEYS[2], ARGV[3], ARGV[2] .. '\n' .. ARGV[1])
return 1

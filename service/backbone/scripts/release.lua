if redis.call('EXISTS', KEYS[1]) == 1 then return end
local job = take_turn(turns_of(ARGV[1]))
if job then redis.call('RPUSH', KEYS[1], job) end

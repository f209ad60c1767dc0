-- A new number counts as a tenth of the average, so that about the last ten jobs decide.
for at = 1, #ARGV, 2 do
  local new, old = tonumber(ARGV[at + 1]), tonumber(redis.call('HGET', KEYS[1], ARGV[at]) or ARGV[at + 1])
  redis.call('HSET', KEYS[1], ARGV[at], exact(old + (new - old) / 10))
end
redis.call('EXPIRE', KEYS[1], PACE_TTL_S)

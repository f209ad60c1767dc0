if not is_ours(ARGV[3]) then return 'over' end
local spent = string.format(AGENT_SPENT_KEY, get('job_id'))
if redis.call('HSETNX', spent, 'by ' .. ARGV[4], '1') == 0 then return 'go' end
for i = 5, #ARGV, 3 do
  if tonumber(redis.call('HGET', spent, ARGV[i]) or '0') + tonumber(ARGV[i + 1]) > tonumber(ARGV[i + 2]) then
    redis.call('HDEL', spent, 'by ' .. ARGV[4])
    return ARGV[i]
  end
end
for i = 5, #ARGV, 3 do redis.call('HINCRBY', spent, ARGV[i], ARGV[i + 1]) end
redis.call('EXPIRE', spent, AGENT_TTL_S)
return 'go'

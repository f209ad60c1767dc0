if not is_ours(ARGV[3]) then return 0 end
local steps = string.format(AGENT_STEPS_KEY, get('job_id'))
redis.call('HSETNX', steps, ARGV[4], ARGV[5])
redis.call('EXPIRE', steps, AGENT_TTL_S)
return 1

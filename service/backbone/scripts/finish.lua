local execution, status = ARGV[3], ARGV[4]
if not is_ours(execution) then return 0 end
for i = 5, #ARGV, 2 do redis.call('HSET', record, ARGV[i], ARGV[i + 1]) end
if status == 'succeeded' then redis.call('HSET', record, 'step', get('steps')) end
conclude(status)
if status == 'succeeded' and get('fingerprints') and get('deleted') ~= '1' then
  local searched = of_owner(OWNER_FINGERPRINTS_KEY)
  redis.call('ZADD', searched, now, get('job_id'))
  redis.call('ZREMRANGEBYRANK', searched, 0, -1 - SEARCHED_MAX)
  redis.call('EXPIRE', searched, ARGV[2])
end
return 1

local execution, status = ARGV[3], ARGV[4]
if not is_ours(execution) then return 0 end
for i = 5, #ARGV, 2 do redis.call('HSET', record, ARGV[i], ARGV[i + 1]) end
if status == 'succeeded' then redis.call('HSET', record, 'step', get('steps')) end
conclude(status)
return 1

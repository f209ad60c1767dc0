if not is_ours(ARGV[3]) then return 0 end
redis.call('SET', string.format(SNAPSHOT_KEY, get('job_id')), ARGV[4], 'EX', SNAPSHOT_TTL_S)
return 1

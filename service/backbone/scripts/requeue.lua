if not is_ours(ARGV[3]) then return 0 end
redis.call('HSET', record, 'status', 'queued')
redis.call('HDEL', record, 'execution_id')
count_as(OWNER_QUEUED_KEY)
emit('status', 'queued')
return 1

if not is_ours(ARGV[3]) then return 0 end
redis.call('HSET', record, 'status', 'queued')
redis.call('HDEL', record, 'execution_id')
emit('status', 'queued')
return 1

if not is_ours(ARGV[3]) then return 0 end
redis.call('HSET', record, 'rewrite', ARGV[4])
emit('rewrite', ARGV[4])
return 1

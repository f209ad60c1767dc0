if not is_ours(ARGV[3]) then return 0 end
redis.call('HSET', record, 'asked', ARGV[4])
emit('note', ARGV[4])
return 1

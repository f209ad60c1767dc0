-- A client may use the id of a removed job again: the new job is not hidden, and stays.
redis.call('ZREM', DUE_KEY, 'remove\n' .. ARGV[3])
if get('deleted') ~= '1' then return 0 end
return redis.call('DEL', record, events)

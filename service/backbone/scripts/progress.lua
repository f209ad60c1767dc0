local execution, step, steps, kind, data, loading = ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8]
if not is_ours(execution) then return 'over' end
if get('cancel_requested') == '1' then return 'cancel' end
redis.call('HSET', record, 'step', step, 'steps', steps, 'loading', loading)
emit(kind, data)
return 'go'

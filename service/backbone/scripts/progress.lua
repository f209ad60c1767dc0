local execution, step, steps, kind, data, loading = ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8]
local go = redis.call('EXISTS', KEYS[3]) == 1 and 'watched' or 'go'
if not is_ours(execution) then return 'over' end
if get('cancel_requested') == '1' then return 'cancel' end
if kind == 'note' then
  redis.call('HSET', record, 'noted', data)
  emit(kind, data)
  return go
end
redis.call('HSET', record, 'loading', loading)
if kind == 'loading' then
  emit(kind, data)
  return go
end
-- Progress only rises: an execution that begins again, or a number of steps that grows, is shown once it is ahead.
local earlier, of = tonumber(get('step') or '0'), tonumber(get('steps') or '1')
if tonumber(step) * math.max(of, 1) < earlier * math.max(tonumber(steps), 1) then return go end
redis.call('HSET', record, 'step', step, 'steps', steps)
announce_progress()
emit(kind, data)
return go

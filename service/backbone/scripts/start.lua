local execution, crash_limit, crash_message = ARGV[3], tonumber(ARGV[4]), ARGV[5]
local status = get('status')
if status ~= 'queued' and status ~= 'running' then return {'over', 0} end
if get('cancel_requested') == '1' then
  conclude('canceled')
  return {'ended', 0}
end
if end_overdue() then return {'ended', 0} end
local crashes = tonumber(get('crashes') or '0')
-- A job that still runs is delivered again only because its worker died.
if status == 'running' then crashes = redis.call('HINCRBY', record, 'crashes', 1) end
if crashes >= crash_limit then
  redis.call('HSET', record, 'error_code', 'worker_crashed', 'error_message', crash_message)
  conclude('failed')
  return {'ended', crashes}
end
local is_first = redis.call('HSETNX', record, 'started_at', now) == 1
redis.call('HSET', record, 'status', 'running', 'execution_id', execution)
if is_first then announce('started') end
count_as(OWNER_RUNNING_KEY)
emit('status', 'running')
return {'started', crashes}

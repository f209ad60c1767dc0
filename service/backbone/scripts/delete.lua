local status, ended = get('status'), {}
if not status or get('deleted') == '1' or get('owner') ~= ARGV[3] then return false end
redis.call('ZREM', of_owner(OWNER_JOBS_KEY), get('job_id'))
redis.call('ZREM', of_owner(OWNER_FINGERPRINTS_KEY), get('job_id'))
for digest in string.gmatch(get('labels') or '', '[^ ]+') do
  redis.call('ZREM', of_owner(OWNER_LABEL_KEY, digest), get('job_id'))
end
if status == 'running' then
  redis.call('HSET', record, 'deleted', '1')
  request_cancel()
  return {'running', {}, {}}
end
if status == 'queued' then
  conclude('canceled')
  ended = redis.call('HMGET', record, unpack(ARGV, 4))
end
local gone = let_go()
redis.call('DEL', record, events)
return {'ended', gone, ended}

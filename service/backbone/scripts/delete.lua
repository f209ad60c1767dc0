local status = get('status')
local is_hidden = get('deleted') == '1' or is_past('expires_at')
if not status then return false end
if ARGV[3] == '' and not is_hidden then return false end
if ARGV[3] ~= '' and (is_hidden or get('owner') ~= ARGV[3]) then return false end
if get('deleted') ~= '1' then
  redis.call('HSET', record, 'deleted', '1')
  redis.call('ZREM', of_owner(OWNER_JOBS_KEY), get('job_id'))
  for digest in string.gmatch(get('labels') or '', '[^ ]+') do
    redis.call('ZREM', of_owner(OWNER_LABEL_KEY, digest), get('job_id'))
  end
  if status == 'queued' then conclude('canceled') end
  if status == 'running' then request_cancel() end
  redis.call('ZADD', DUE_KEY, now, due('remove'))
end
return get('status') == 'running' and 'running' or 'ended'

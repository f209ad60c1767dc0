local status = get('status')
if status == 'queued' then
  conclude('canceled')
  return 'ended'
end
if status == 'running' then
  redis.call('HSET', record, 'cancel_requested', '1')
  redis.call('PUBLISH', CANCEL_CHANNEL, get('job_id'))
  return 'requested'
end
return status

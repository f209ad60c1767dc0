local status = get('status')
if status == 'queued' then
  conclude('canceled')
  return 'ended'
end
if status == 'running' then
  request_cancel()
  return 'requested'
end
return status

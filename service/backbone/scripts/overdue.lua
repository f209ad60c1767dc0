local status = get('status')
if status == 'queued' then return end_overdue() and 'ended' or status end
if status == 'running' and is_past('cancel_at') then
  request_cancel()
  return 'requested'
end
return status

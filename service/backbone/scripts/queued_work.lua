-- Counts a job, with 1 or -1, among those that wait; jobs of versions that did not note their model are left out.
local function count_queued_work(record, sign)
  local found = redis.call('HMGET', record, 'kind', 'model', 'step_px')
  if not found[1] or not found[2] then return end
  local field = found[1] .. '\n' .. found[2]
  if redis.call('HINCRBY', QUEUED_JOBS_KEY, field, sign) <= 0 then
    redis.call('HDEL', QUEUED_JOBS_KEY, field)
    redis.call('HDEL', QUEUED_WORK_KEY, field)
  else
    local step_px = sign * (tonumber(found[3] or '0') or 0)
    redis.call('HINCRBY', QUEUED_WORK_KEY, field, string.format('%.0f', step_px + 0)) -- never -0
  end
end

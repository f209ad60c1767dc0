local SCANNED_MAX = 1000
local busy = cjson.decode(ARGV[2])

local function has_slot(owner, hosts)
  for host in string.gmatch(hosts, '[^ ]+') do
    if busy.hosts[host] or busy.pairs[owner .. '\n' .. host] then return false end
  end
  return true
end

local function claim(owner)
  local first, beyond = '[' .. owner .. '\n', '(' .. owner .. '\v'
  local members = redis.call('ZRANGEBYLEX', KEYS[1], first, beyond, 'LIMIT', 0, SCANNED_MAX)
  if #members == 0 then redis.call('ZREM', KEYS[2], owner) end
  for _, member in ipairs(members) do
    local hosts, job = string.match(member, '^[^\n]*\n[^\n]*\n([^\n]*)\n([^\n]*)$')
    if has_slot(owner, hosts) then
      redis.call('ZREM', KEYS[1], member)
      redis.call('ZADD', KEYS[2], ARGV[1], owner)
      redis.call('LPUSH', KEYS[3], job)
      return job
    end
  end
  return false
end

local found = false
for _, owner in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
  if not found and not busy.owners[owner] then found = claim(owner) end
end
return {found, redis.call('ZCARD', KEYS[1])}

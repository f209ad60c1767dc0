-- What each owner has stored. An object is counted while STORED_KEY has its name, so that nothing is counted or
-- subtracted twice, whoever removes it. The loader puts this in front of each script that stores or removes results.
local function note_stored(name, size_bytes, owner)
  if redis.call('HSETNX', STORED_KEY, name, string.format('%.0f %s', size_bytes, owner)) == 0 then return end
  redis.call('HINCRBY', STORED_BYTES_KEY, owner, string.format('%.0f', size_bytes))
end

local function forget_stored(name)
  local noted = redis.call('HGET', STORED_KEY, name)
  if not noted then return end
  redis.call('HDEL', STORED_KEY, name)
  local size_bytes, owner = string.match(noted, '^(%d+) (.*)$')
  if redis.call('HINCRBY', STORED_BYTES_KEY, owner, string.format('%.0f', 0 - tonumber(size_bytes))) <= 0 then
    redis.call('HDEL', STORED_BYTES_KEY, owner)
  end
end

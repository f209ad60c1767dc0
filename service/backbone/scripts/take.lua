local list, intermediate, turns = KEYS[1], KEYS[2], turns_of(ARGV[1])
local passed_over = cjson.decode(ARGV[2] or '{}')

local function owner_of_first()
  local first = redis.call('LINDEX', list, 0)
  return first and redis.call('HGET', string.format(RECORD_KEY, first), 'owner')
end

local is_listed, owner = redis.call('EXISTS', list) == 1, nil
if is_listed then owner = owner_of_first() else owner = next_turn(turns) end
if owner and passed_over[owner] then return false end
if is_listed then return redis.call('LMOVE', list, intermediate, 'LEFT', 'RIGHT') end
local job = take_turn(turns)
if job then redis.call('RPUSH', intermediate, job) end
return job or false

-- Whose job is taken next: start-time fair queueing between the owners of the jobs that wait in one queue (Goyal, Vin and
-- Cheng, "Start-time Fair Queueing", 1996). Each owner has a virtual time, which every job that is taken moves on by its
-- charge, its work divided by the weight of the owner; the owner with the least virtual time has the next turn. An owner
-- whose first job arrives starts level with the one that had the last turn, unless its own time is further on.
local function turns_of(queue)
  local suffix = queue == DIFFUSION_QUEUE and '' or ':queue:' .. queue
  return {
    waiting = WAITING_KEY .. suffix,
    owners = TURNS_KEY .. suffix,
    ends = TURN_ENDS_KEY .. suffix,
    now = TURNS_NOW_KEY .. suffix,
    jobs = function(owner) return string.format(OWNER_WAITING_KEY, owner) .. suffix end,
  }
end

-- Lua's own conversion to text keeps 14 digits only.
local function exact(number)
  return string.format('%.17g', number)
end

local function wait_for_turn(turns, owner, job, rank, charge)
  redis.call('HSET', turns.waiting, job, exact(charge))
  redis.call('ZADD', turns.jobs(owner), exact(rank), job)
  if redis.call('ZSCORE', turns.owners, owner) then return end
  local now = tonumber(redis.call('GET', turns.now) or '0')
  local own = tonumber(redis.call('ZSCORE', turns.ends, owner) or '0')
  redis.call('ZREM', turns.ends, owner)
  redis.call('ZADD', turns.owners, exact(math.max(now, own)), owner)
end

-- Sets the virtual time of an owner. If no job waits at all, all owners are level again.
local function move_on(turns, owner, time)
  if redis.call('EXISTS', turns.jobs(owner)) == 1 then
    redis.call('ZADD', turns.owners, exact(time), owner)
  else
    redis.call('ZREM', turns.owners, owner)
    redis.call('ZADD', turns.ends, exact(time), owner)
  end
  if redis.call('EXISTS', turns.owners) == 0 then redis.call('DEL', turns.now, turns.ends) end
end

-- Removes a job that waits for its turn; false if it does not.
local function withdraw(turns, owner, job)
  if redis.call('HDEL', turns.waiting, job) == 0 then return false end
  redis.call('ZREM', turns.jobs(owner), job)
  move_on(turns, owner, tonumber(redis.call('ZSCORE', turns.owners, owner)))
  return true
end

-- The owner whose turn it is and its virtual time; nil if no job waits.
local function next_turn(turns)
  return unpack(redis.call('ZRANGE', turns.owners, 0, 0, 'WITHSCORES'))
end

-- Removes the job whose turn it is, and returns its id; nil if none waits.
local function take_turn(turns)
  local owner, start = next_turn(turns)
  if not owner then return nil end
  local job = redis.call('ZPOPMIN', turns.jobs(owner))[1]
  local charge = tonumber(redis.call('HGET', turns.waiting, job))
  redis.call('HDEL', turns.waiting, job)
  redis.call('SET', turns.now, start)
  redis.call('ZREMRANGEBYSCORE', turns.ends, '-inf', start)
  move_on(turns, owner, tonumber(start) + charge)
  return job
end

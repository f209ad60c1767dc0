-- Each owner's jobs are taken for like the first of them.
local SAMPLES, OWNERS_MAX = 8, 32
local turns, means = turns_of(ARGV[1]), {}
local others = redis.call('ZRANGE', turns.owners, 0, OWNERS_MAX - 1, 'WITHSCORES')

-- The mean charge and work of the first jobs of an owner, and how many jobs it has; looked up once for all who ask.
local function mean(owner)
  if means[owner] then return unpack(means[owner]) end
  local charge, work, jobs = 0, 0, redis.call('ZRANGE', turns.jobs(owner), 0, SAMPLES - 1)
  for _, each in ipairs(jobs) do
    charge = charge + tonumber(redis.call('HGET', turns.waiting, each))
    work = work + tonumber(redis.call('HGET', string.format(RECORD_KEY, each), 'step_px') or '0')
  end
  means[owner] = {charge / #jobs, work / #jobs, redis.call('ZCARD', turns.jobs(owner))}
  return unpack(means[owner])
end

local starts = {}
local function start_of(owner)
  starts[owner] = starts[owner] or tonumber(redis.call('ZSCORE', turns.owners, owner))
  return starts[owner]
end

local function place(own, job)
  local ahead = redis.call('ZRANK', turns.jobs(own), job)
  if not ahead then return 0, 0 end
  local charge, each_px = mean(own)
  local start, work_px = start_of(own) + ahead * charge, ahead * each_px
  for at = 1, #others, 2 do
    local owner, their_start = others[at], tonumber(others[at + 1])
    if owner ~= own and their_start < start then
      local their_charge, their_px, jobs = mean(owner)
      local count = math.min(jobs, math.ceil((start - their_start) / their_charge))
      ahead, work_px = ahead + count, work_px + count * their_px
    end
  end
  return ahead, work_px
end

local found = {}
for at = 2, #ARGV, 2 do
  local ahead, work_px = place(ARGV[at], ARGV[at + 1])
  found[#found + 1], found[#found + 2] = ahead, exact(work_px)
end
return found

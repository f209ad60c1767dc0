-- Each owner's jobs are taken for like the first of them.
local SAMPLES, OWNERS_MAX = 8, 32
local turns, own, job = turns_of(ARGV[1]), ARGV[2], ARGV[3]

-- The mean charge and work of the first jobs of an owner.
local function mean(owner)
  local charge, work, jobs = 0, 0, redis.call('ZRANGE', turns.jobs(owner), 0, SAMPLES - 1)
  for _, each in ipairs(jobs) do
    charge = charge + tonumber(redis.call('HGET', turns.waiting, each))
    work = work + tonumber(redis.call('HGET', string.format(RECORD_KEY, each), 'step_px') or '0')
  end
  return charge / #jobs, work / #jobs
end

local ahead = redis.call('ZRANK', turns.jobs(own), job)
if not ahead then return {0, '0'} end
local charge, each_px = mean(own)
local start = tonumber(redis.call('ZSCORE', turns.owners, own)) + ahead * charge
local work_px = ahead * each_px
local others = redis.call('ZRANGE', turns.owners, 0, OWNERS_MAX - 1, 'WITHSCORES')
for at = 1, #others, 2 do
  if others[at] ~= own and tonumber(others[at + 1]) < start then
    local their_charge, their_px = mean(others[at])
    local turns_before = math.ceil((start - tonumber(others[at + 1])) / their_charge)
    local count = math.min(redis.call('ZCARD', turns.jobs(others[at])), turns_before)
    ahead, work_px = ahead + count, work_px + count * their_px
  end
end
return {ahead, exact(work_px)}

local status, asked = get('status'), get('asked')
if status ~= 'queued' and status ~= 'running' or get('deleted') == '1' then return 'over' end
if ARGV[3] ~= '' and (not asked or cjson.decode(asked).id ~= ARGV[3]) then return 'other' end
local inputs = string.format(AGENT_INPUTS_KEY, get('job_id'))
if redis.call('LLEN', inputs) >= tonumber(ARGV[5]) then return 'full' end
redis.call('RPUSH', inputs, ARGV[4])
redis.call('EXPIRE', inputs, AGENT_TTL_S)
redis.call('HDEL', record, 'asked')
emit('note', ARGV[4])
return 'told'

local loaded = cjson.decode(ARGV[1])
for _, member in ipairs(redis.call('ZRANGE', KEYS[1], 0, 63)) do
  local model, job = string.match(member, '^(.*)\n([^\n]*)$')
  if loaded[model] then
    redis.call('ZREM', KEYS[1], member)
    redis.call('LPUSH', KEYS[2], job)
    return job
  end
end
return false

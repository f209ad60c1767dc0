local now, owner, target, subject = unpack(ARGV)
redis.call('HDEL', string.format(HEALTH_KEY, owner, target), 'paused_until')
return queue_delivery(owner, target, '', 'test', subject, now, {'queued_at', now})

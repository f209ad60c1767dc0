if not is_ours(ARGV[3]) or get('cancel_requested') == '1' then return 0 end
if tonumber(get('retries_left') or '0') < 1 then return 0 end
redis.call('HINCRBY', record, 'retries_left', -1)
set_back()
return 1

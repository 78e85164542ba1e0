#!lua flags=allow-oom
-- Says that what an entry waits for has come: one that is deferred is due now, one in hand will not be deferred.
-- KEYS: waiting, due; ARGV: name
local id = redis.call('HGET', KEYS[1], 'name ' .. ARGV[1])
if not id then
  return 0
end
redis.call('HDEL', KEYS[1], 'name ' .. ARGV[1])
if not redis.call('HGET', KEYS[1], 'entry ' .. id) then
  local time = redis.call('TIME')
  redis.call('ZADD', KEYS[2], 'XX', time[1] * 1000 + math.floor(time[2] / 1000), id)
end
return 1

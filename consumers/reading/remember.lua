#!lua flags=allow-oom
-- Remembers event ids of the log, so that a producer that appends one again adds nothing.
-- KEYS: two hashes that remember ids in turn; ARGV: window in seconds, then id and position in turn
local window = tonumber(ARGV[1])
local generation = math.floor(tonumber(redis.call('TIME')[1]) / window)
local current = KEYS[1 + generation % 2]
if redis.call('HGET', current, '') ~= tostring(generation) then
  redis.call('DEL', current)
  redis.call('HSET', current, '', tostring(generation))
  redis.call('EXPIRE', current, 2 * window)
end
redis.call('HSET', current, unpack(ARGV, 2))
return 1

#!lua flags=allow-oom
-- Puts the work on an entry off; what was never really tried does not count. Refused to a former owner.
-- If it waits for something that has come meanwhile, it is due at once.
-- KEYS: stream, due, waiting; ARGV: group, owner, entry id, delay in ms, '1' if the attempt counts
local pending = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1)[1]
if not pending or pending[2] ~= ARGV[2] then
  return 0
end
if ARGV[5] ~= '1' then
  redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[3], 'RETRYCOUNT', math.max(pending[4] - 1, 0), 'JUSTID')
end
local delay = ARGV[4]
local name = redis.call('HGET', KEYS[3], 'entry ' .. ARGV[3])
if name then
  redis.call('HDEL', KEYS[3], 'entry ' .. ARGV[3])
  if redis.call('HGET', KEYS[3], 'name ' .. name) ~= ARGV[3] then
    delay = 0
  end
end
local time = redis.call('TIME')
redis.call('ZADD', KEYS[2], time[1] * 1000 + math.floor(time[2] / 1000) + delay, ARGV[3])
return 1

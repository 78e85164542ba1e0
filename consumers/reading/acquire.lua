#!lua flags=allow-oom
-- Takes the lease of a partition if nobody holds it. An epoch is the server's clock in ms at least, so that it is above
-- those that a sink has seen also after Redis lost the counter.
-- KEYS: lease, epoch counter
-- ARGV: owner, time to live in ms, an epoch that a sink has seen
-- Returns the new epoch, or 0.
if redis.call('EXISTS', KEYS[1]) == 1 then
  return 0
end
local now = redis.call('TIME')
local before = math.max(tonumber(redis.call('GET', KEYS[2]) or '0'), tonumber(ARGV[3]))
local epoch = string.format('%d', math.max(before + 1, tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000)))
redis.call('SET', KEYS[2], epoch)
redis.call('SET', KEYS[1], ARGV[1] .. '/' .. epoch, 'PX', ARGV[2])
return tonumber(epoch)

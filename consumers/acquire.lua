#!lua flags=allow-oom
-- Takes the lease of a partition if nobody holds it.
-- KEYS: lease, epoch counter, record of the position at which the last owner started
-- ARGV: owner, time to live in ms
-- Returns the new epoch, or 0.
if redis.call('EXISTS', KEYS[1]) == 1 then
  return 0
end
local epoch = redis.call('INCR', KEYS[2])
redis.call('SET', KEYS[1], ARGV[1] .. '/' .. epoch, 'PX', ARGV[2])
return epoch

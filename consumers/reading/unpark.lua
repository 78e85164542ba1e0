#!lua flags=allow-oom
-- Removes a parked entry and lets its subject flow again when it was the last one.
-- KEYS: parked stream, hash of parked subjects, hash of parked positions
-- ARGV: id in the parked stream, subject or '', '1' if it was dropped: a reader that comes to it again passes over it;
-- then the position of the event, if it is known
-- Returns 1 if the subject still waits for another one, else 0.
if redis.call('XDEL', KEYS[1], ARGV[1]) == 1 and ARGV[2] ~= '' then
  if redis.call('HINCRBY', KEYS[2], ARGV[2], -1) <= 0 then
    redis.call('HDEL', KEYS[2], ARGV[2])
  end
end
local position = redis.call('HGET', KEYS[3], '=' .. ARGV[1])
if position then
  redis.call('HDEL', KEYS[3], '=' .. ARGV[1])
  if ARGV[3] ~= '1' then
    redis.call('HDEL', KEYS[3], position)
  end
elseif ARGV[3] == '1' and ARGV[4] then
  redis.call('HSET', KEYS[3], ARGV[4], ARGV[1])
end
return redis.call('HEXISTS', KEYS[2], ARGV[2])

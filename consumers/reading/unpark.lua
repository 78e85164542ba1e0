#!lua flags=allow-oom
-- Removes a parked entry and lets its subject flow again when it was the last one.
-- KEYS: parked stream, hash of parked subjects, hash of parked positions
-- ARGV: id in the parked stream, subject or '', '1' if it was dropped: a reader that comes to it again passes over it;
-- then the position of the event, if it is known
-- Returns 1 if it was there, else 0; and 1 if the subject still waits for another one, else 0.
local id, subject, is_dropped, known_position = ARGV[1], ARGV[2], ARGV[3] == '1', ARGV[4]
local was_there = redis.call('XDEL', KEYS[1], id)
if was_there == 1 and subject ~= '' then
  if redis.call('HINCRBY', KEYS[2], subject, -1) <= 0 then
    redis.call('HDEL', KEYS[2], subject)
  end
end
local position = redis.call('HGET', KEYS[3], '=' .. id)
if position then
  redis.call('HDEL', KEYS[3], '=' .. id)
  if not is_dropped then
    redis.call('HDEL', KEYS[3], position)
  end
elseif known_position and is_dropped and was_there == 1 then
  redis.call('HSET', KEYS[3], known_position, id)
elseif known_position and not is_dropped and redis.call('HGET', KEYS[3], known_position) == id then
  redis.call('HDEL', KEYS[3], known_position) -- dropped while it was applied
end
return {was_there, redis.call('HEXISTS', KEYS[2], subject)}

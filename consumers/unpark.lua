#!lua flags=allow-oom
-- Removes a parked entry and lets its subject flow again when it was the last one.
-- KEYS: parked stream, hash of parked subjects; ARGV: id in the parked stream, subject or ''
if redis.call('XDEL', KEYS[1], ARGV[1]) == 1 and ARGV[2] ~= '' then
  if redis.call('HINCRBY', KEYS[2], ARGV[2], -1) <= 0 then
    redis.call('HDEL', KEYS[2], ARGV[2])
  end
end
return 1

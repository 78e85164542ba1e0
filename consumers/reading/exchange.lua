#!lua flags=allow-oom
-- Sets a field only if it is what it was: a flush in between is noticed.
-- KEYS: hash; ARGV: field, its value before, its value after. Returns 1 if it was set.
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then
  return 0
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1

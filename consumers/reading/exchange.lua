#!lua flags=allow-oom
-- Makes a hash one field, only if this field is what it was: a flush in between is noticed.
-- KEYS: hash; ARGV: field, its value before, its value after. Returns 1 if it was set.
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then
  return 0
end
local fields, most = redis.call('HKEYS', KEYS[1]), 1000
for n = 1, #fields, most do
  redis.call('HDEL', KEYS[1], unpack(fields, n, math.min(n + most - 1, #fields)))
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1

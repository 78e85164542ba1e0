#!lua flags=allow-oom
-- Sets an event aside again that Redis forgot, unless it knows the event.
-- KEYS: parked stream, hash of parked subjects, hash of parked positions
-- ARGV: position, subject or '', then the fields of the parked entry; none if the event was dropped
-- Returns 1 if it was set aside.
if redis.call('HEXISTS', KEYS[3], ARGV[1]) == 1 then
  return 0
end
if #ARGV == 2 then
  redis.call('HSET', KEYS[3], ARGV[1], 'dropped')
  return 1
end
local id = redis.call('XADD', KEYS[1], '*', unpack(ARGV, 3))
redis.call('HSET', KEYS[3], ARGV[1], id, '=' .. id, ARGV[1])
if ARGV[2] ~= '' then
  redis.call('HINCRBY', KEYS[2], ARGV[2], 1)
end
return 1

#!lua flags=allow-oom
-- Ends the work on an entry; if fields are given it is parked with them. Refused to a former owner.
-- KEYS: stream, due, waiting, parked stream, hash of parked positions
-- ARGV: group, owner, entry id, '1' to delete the entry, the position of the event, then the fields of the parked entry
local pending = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1)[1]
if not pending or pending[2] ~= ARGV[2] then
  return 0
end
if #ARGV > 5 then
  local id = redis.call('XADD', KEYS[4], '*', unpack(ARGV, 6))
  redis.call('HSET', KEYS[5], ARGV[5], id, '=' .. id, ARGV[5])
elseif string.sub(redis.call('HGET', KEYS[5], ARGV[5]) or '', 1, 6) == 'retry-' then
  redis.call('HDEL', KEYS[5], ARGV[5])
end
redis.call('XACK', KEYS[1], ARGV[1], ARGV[3])
redis.call('ZREM', KEYS[2], ARGV[3])
local name = redis.call('HGET', KEYS[3], 'entry ' .. ARGV[3])
if name then
  redis.call('HDEL', KEYS[3], 'entry ' .. ARGV[3])
  if redis.call('HGET', KEYS[3], 'name ' .. name) == ARGV[3] then
    redis.call('HDEL', KEYS[3], 'name ' .. name)
  end
end
if ARGV[4] == '1' then
  redis.call('XDEL', KEYS[1], ARGV[3])
end
return 1

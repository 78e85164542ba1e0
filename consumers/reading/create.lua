#!lua flags=allow-oom
-- Creates a group, unless it is there: where it stood when it was retired, or at the beginning of the stream; even if the
-- server is out of memory.
-- KEYS: stream, and the hash that has where retired groups stood if there may be such; ARGV: group
local retired = KEYS[2] and redis.call('HGET', KEYS[2], 'retired:' .. ARGV[1])
local created = redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[1], retired or '0', 'MKSTREAM')
if created.err and not string.find(created.err, 'BUSYGROUP') then
  return created
end
if retired then
  redis.call('HDEL', KEYS[2], 'retired:' .. ARGV[1])
end
return 1

#!lua flags=allow-oom
-- Creates a group at the beginning of a stream, unless it is there; even if the server is out of memory.
-- KEYS: stream; ARGV: group
local created = redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[1], '0', 'MKSTREAM')
if created.err and not string.find(created.err, 'BUSYGROUP') then
  return created
end
return 1

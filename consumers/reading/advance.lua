#!lua flags=allow-oom
-- Renews the lease and, if a position is given, moves the group to it. Refused to a former owner.
-- KEYS: lease, stream
-- ARGV: holder, time to live in ms, group, position or ''
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
if ARGV[4] ~= '' then
  redis.call('XGROUP', 'SETID', KEYS[2], ARGV[3], ARGV[4])
end
return 1

#!lua flags=allow-oom
-- Sets an entry aside with its reason and moves the group past it, at once. Refused to a former owner.
-- KEYS: lease, stream, parked stream, hash of parked subjects
-- ARGV: holder, group, position, subject or '', then the fields of the parked entry
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('XADD', KEYS[3], '*', unpack(ARGV, 5))
if ARGV[4] ~= '' then
  redis.call('HINCRBY', KEYS[4], ARGV[4], 1)
end
redis.call('XGROUP', 'SETID', KEYS[2], ARGV[2], ARGV[3])
return 1

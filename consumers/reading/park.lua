#!lua flags=allow-oom
-- Sets an entry aside with its reason and moves the group past it, at once. Refused to a former owner.
-- KEYS: lease, stream, parked stream, hash of parked subjects, hash of parked positions
-- ARGV: holder, group, position, subject or '', '1' if it waits behind that subject, '1' if a reader that begins
-- again may come to the entry again, then the fields of the parked entry
-- Returns 2 if it need not wait: an operator has dropped what its subject was parked for; 3 if it is parked already.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
local again = ARGV[6] == '1'
local done = 1
if again and redis.call('HEXISTS', KEYS[5], ARGV[3]) == 1 then
  done = 3
else
  if ARGV[5] == '1' and redis.call('HEXISTS', KEYS[4], ARGV[4]) == 0 then
    return 2
  end
  local id = redis.call('XADD', KEYS[3], '*', unpack(ARGV, 7))
  if again then
    redis.call('HSET', KEYS[5], ARGV[3], id, '=' .. id, ARGV[3])
  end
  if ARGV[4] ~= '' then
    redis.call('HINCRBY', KEYS[4], ARGV[4], 1)
  end
end
redis.call('XGROUP', 'SETID', KEYS[2], ARGV[2], ARGV[3])
return done

#!lua flags=allow-oom
-- Sets events of a consumer aside again that Redis forgot; those that it knows stay as they are.
-- KEYS: parked stream, hash of parked subjects, hash of parked positions, hash of what was given back
-- ARGV: of each event its position, its subject or '', a field that says that it was given back and its value, how many
-- fields the parked entry has, and these; 0 if the event was dropped
local n = 1
while n <= #ARGV do
  local position, subject, last = ARGV[n], ARGV[n + 1], n + 4 + tonumber(ARGV[n + 4])
  if redis.call('HEXISTS', KEYS[3], position) == 0 then
    if last == n + 4 then
      redis.call('HSET', KEYS[3], position, 'dropped')
    else
      local id = redis.call('XADD', KEYS[1], '*', unpack(ARGV, n + 5, last))
      redis.call('HSET', KEYS[3], position, id, '=' .. id, position)
      if subject ~= '' then
        redis.call('HINCRBY', KEYS[2], subject, 1)
      end
    end
  end
  redis.call('HSET', KEYS[4], ARGV[n + 2], ARGV[n + 3])
  n = last + 1
end

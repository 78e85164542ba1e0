#!lua flags=allow-oom
-- Sets events of a consumer aside again that Redis forgot, or gives them to it again; those that it knows stay as they are.
-- KEYS: parked stream, hash of parked subjects, hash of parked positions, hash of what was given back, private stream
-- ARGV: of each event its position, its subject or '', a field that says that it was given back and its value, the name of
-- the retry if it was given again or '', how many fields the entry has, and these; 0 if the event was dropped
local n = 1
while n <= #ARGV do
  local position, subject, retry = ARGV[n], ARGV[n + 1], ARGV[n + 4]
  local last = n + 5 + tonumber(ARGV[n + 5])
  if redis.call('HEXISTS', KEYS[3], position) == 0 then
    if last == n + 5 then
      redis.call('HSET', KEYS[3], position, 'dropped')
    elseif retry ~= '' then
      redis.call('XADD', KEYS[5], '*', unpack(ARGV, n + 6, last))
      redis.call('HSET', KEYS[3], position, retry)
    else
      local id = redis.call('XADD', KEYS[1], '*', unpack(ARGV, n + 6, last))
      redis.call('HSET', KEYS[3], position, id, '=' .. id, position)
      if subject ~= '' then
        redis.call('HINCRBY', KEYS[2], subject, 1)
      end
    end
  end
  redis.call('HSET', KEYS[4], ARGV[n + 2], ARGV[n + 3])
  n = last + 1
end

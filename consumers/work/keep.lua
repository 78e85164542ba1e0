#!lua flags=allow-oom
-- Holds entries for another term, as long as they are the owner's, and says that the group has a process.
-- KEYS: stream, due, presence; ARGV: group, owner, hold in ms, entry ids
-- Returns the ids that are no longer the owner's.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('SET', KEYS[3], ARGV[2], 'PX', ARGV[3])
local lost = {}
for n = 4, #ARGV do
  local pending = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[n], ARGV[n], 1)[1]
  if pending and pending[2] == ARGV[2] then
    redis.call('ZADD', KEYS[2], now + ARGV[3], ARGV[n])
  else
    lost[#lost + 1] = ARGV[n]
  end
end
return lost

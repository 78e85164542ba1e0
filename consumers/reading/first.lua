#!lua flags=allow-oom
-- Tells where each event id stands first in the stream, as far as the memory of `append` goes, and remembers those that
-- nobody remembered: an entry that another client added again has the id of the one before it.
-- KEYS: two hashes that remember ids in turn; ARGV: window in seconds, then id and position in turn
-- Returns the first position of each.
local function generation(key)
  return tonumber(redis.call('HGET', key, '') or '-1')
end

local one, other = generation(KEYS[1]), generation(KEYS[2])
local current, previous = KEYS[1], KEYS[2]
if other > one then
  current, previous = KEYS[2], KEYS[1]
elseif one < 0 then
  local window = tonumber(ARGV[1])
  local now = math.floor(tonumber(redis.call('TIME')[1]) / window)
  current, previous = KEYS[1 + now % 2], KEYS[1 + (now + 1) % 2]
  redis.call('HSET', current, '', tostring(now))
  redis.call('EXPIRE', current, 2 * window)
end

local positions = {}
for n = 2, #ARGV, 2 do
  local id, position = ARGV[n], ARGV[n + 1]
  local known = redis.call('HGET', current, id) or redis.call('HGET', previous, id)
  if not known then
    redis.call('HSET', current, id, position)
  end
  positions[#positions + 1] = known or position
end
return positions

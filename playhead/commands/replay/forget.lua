#!lua
-- Forgets ids of events that the log lacks although it has come to a position behind them: they may be appended again.
-- KEYS: two hashes that remember ids in turn; ARGV: that position, then ids
-- Returns how many were forgotten.
local function parts(id)
  local ms, counter = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(counter)
end

local ms, counter = parts(ARGV[1])
local forgotten = 0
for _, key in ipairs(KEYS) do
  for n = 2, #ARGV do
    local position = redis.call('HGET', key, ARGV[n])
    if position then
      local known_ms, known_counter = parts(position)
      if known_ms < ms or (known_ms == ms and known_counter <= counter) then
        forgotten = forgotten + redis.call('HDEL', key, ARGV[n])
      end
    end
  end
end
return forgotten

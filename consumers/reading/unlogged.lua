#!lua flags=allow-oom
-- Notes events that the log lacks, less those of the same range that are noted already: several sinks may show the same.
-- KEYS: the list of what was lost; ARGV: consumer, count, position before, position behind, reason, time
-- Returns how many were noted.
local function parts(id)
  local ms, counter = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(counter)
end

local function is_below(one, other)
  local ms, counter = parts(one)
  local other_ms, other_counter = parts(other)
  return ms < other_ms or (ms == other_ms and counter < other_counter)
end

local count = tonumber(ARGV[2])
for _, raw in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do
  local lost = cjson.decode(raw)
  if lost.projection == ARGV[1] and is_below(lost.after, ARGV[4]) and is_below(ARGV[3], lost.before) then
    count = count - lost.count
  end
end
if count <= 0 then
  return 0
end
local lost = {
  projection = ARGV[1], count = count, after = ARGV[3], before = ARGV[4], reason = ARGV[5], at = tonumber(ARGV[6]),
}
redis.call('RPUSH', KEYS[1], cjson.encode(lost))
redis.call('LTRIM', KEYS[1], -1000, -1)
return count

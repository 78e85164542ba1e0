#!lua flags=allow-oom
-- Counts processes that began to handle what stands behind a position; another position starts the count anew.
-- KEYS: record of attempts; ARGV: stream, position, owner
local position, owner, count = string.match(redis.call('HGET', KEYS[1], ARGV[1]) or '', '^(%S+) (%S+) (%d+)$')
count = position == ARGV[2] and tonumber(count) or 0
if position ~= ARGV[2] or owner ~= ARGV[3] then
  count = count + 1
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' ' .. ARGV[3] .. ' ' .. count)
return count

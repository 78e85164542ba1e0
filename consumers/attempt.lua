#!lua flags=allow-oom
-- Counts how often reading was started at one position; another position starts the count anew.
-- KEYS: record of attempts; ARGV: position
local same = redis.call('HGET', KEYS[1], 'position') == ARGV[1]
local count = same and tonumber(redis.call('HGET', KEYS[1], 'count') or '0') + 1 or 1
redis.call('HSET', KEYS[1], 'position', ARGV[1], 'count', count)
return count

#!lua flags=allow-oom
-- Creates a group behind the log's tail, or where it stood when it was retired, and gives it what it had not finished, in
-- its private stream. If the group is there and knows of the restart already, nothing happens; one of an older state
-- forgets what it had in hand.
-- KEYS: stream, due, private stream, restarts
-- ARGV: group, position, number of the newest restart, then per event: number of values n, n values
-- Returns 1 if this call did it.
local stream, due, private, restarts = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local group, tail, restart = ARGV[1], ARGV[2], tonumber(ARGV[3])
local honoured = 'honoured:' .. group
local function parts(id)
  local ms, counter = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(counter)
end

local function is_behind(id, limit)
  local ms, counter = parts(id)
  local limit_ms, limit_counter = parts(limit)
  return ms > limit_ms or (ms == limit_ms and counter > limit_counter)
end

local created = redis.pcall('XGROUP', 'CREATE', stream, group, tail, 'MKSTREAM')
if created.err then
  if not string.find(created.err, 'BUSYGROUP') then
    return created
  end
  if tonumber(redis.call('HGET', restarts, honoured) or '0') >= restart then
    return 0
  end
  for _, about in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    if about[2] == group and is_behind(tail, about[8]) then
      redis.call('XGROUP', 'SETID', stream, group, tail)
    end
  end
  while true do
    local pending = redis.call('XPENDING', stream, group, '-', tail, 1000)
    if #pending == 0 then
      break
    end
    for _, one in ipairs(pending) do
      redis.call('XACK', stream, group, one[1])
      redis.call('ZREM', due, one[1])
    end
  end
end
redis.call('HDEL', restarts, 'retired:' .. group)
if restart > 0 then
  redis.call('HSET', restarts, honoured, restart)
end
local argument = 4
while argument <= #ARGV do
  local count = tonumber(ARGV[argument])
  redis.call('XADD', private, '*', unpack(ARGV, argument + 1, argument + count))
  argument = argument + 1 + count
end
return 1

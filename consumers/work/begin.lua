#!lua flags=allow-oom
-- Creates a group behind the log's tail, or where it stood when it was retired, and gives it what it had not finished, in
-- its private stream. If the group is there and knows of the restart already, nothing happens; one of an older state
-- forgets what it had in hand. Nor does anything if entries behind the position are gone, unless that is accepted: they may
-- be trimmed as long as there is no group.
-- KEYS: stream, due, private stream, restarts
-- ARGV: group, position, number of the newest restart, sequence number that the stream has come to at the position or '',
-- '1' to accept that entries are gone, then per event: number of values n, n values
-- Returns 1 if this call did it, 2 if entries are gone.
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

local function goes_on()
  local last = '0-0'
  local info = redis.call('XINFO', 'STREAM', stream)
  for n = 1, #info, 2 do
    if info[n] == 'last-generated-id' then
      last = info[n + 1]
    end
  end
  if not is_behind(last, tail) then
    return true
  end
  if tail ~= '0-0' and #redis.call('XREVRANGE', stream, tail, '-', 'COUNT', 1) > 0 then
    return true -- entries go from the beginning on
  end
  local few = 20 -- other clients may have added some without a number
  for _, entry in ipairs(redis.call('XRANGE', stream, '(' .. tail, '+', 'COUNT', few)) do
    for n = 1, #entry[2], 2 do
      if entry[2][n] == 'ce_sequence' then
        local number = tonumber(entry[2][n + 1])
        return number == 1 or (ARGV[4] ~= '' and number == tonumber(ARGV[4]) + 1)
      end
    end
  end
  return false
end

local function is_there()
  for _, about in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    if about[2] == group then
      return true
    end
  end
  return false
end

if ARGV[5] ~= '1' and redis.call('EXISTS', stream) == 1 and not is_there() and not goes_on() then
  return 2
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
redis.call('HDEL', restarts, 'retired:' .. group, 'gone:' .. group)
if restart > 0 then
  redis.call('HSET', restarts, honoured, restart)
end
local argument = 6
while argument <= #ARGV do
  local count = tonumber(ARGV[argument])
  redis.call('XADD', private, '*', unpack(ARGV, argument + 1, argument + count))
  argument = argument + 1 + count
end
return 1

#!lua flags=allow-oom
-- Takes work: first what is due again or was left by a dead process, then what is new. Other types are passed over.
-- KEYS: stream, due (a sorted set: entry id, ms from which anyone may take it)
-- ARGV: group, owner, most, hold in ms, horizon in ms, wanted types
-- Returns the newest id of the stream, the ids of entries that are gone from it, {entry, times delivered} for each taken.
local stream, due = KEYS[1], KEYS[2]
local group, owner, most, hold, horizon = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lost, taken = {}, {}

local wanted = {}
for n = 6, #ARGV do
  wanted[ARGV[n]] = true
end

local function passes(fields)
  local passed = false -- without a type: whoever decodes it says what is wrong
  for n = 1, #fields, 2 do
    if fields[n] == 'ce_type' then
      passed = not wanted[fields[n + 1]]
    end
  end
  return passed
end

local ids = redis.call('ZRANGEBYSCORE', due, '-inf', now, 'LIMIT', 0, most)
-- Beyond the horizon nothing is ever deferred: the clock has gone back since.
for _, id in ipairs(redis.call('ZRANGEBYSCORE', due, now + horizon, '+inf', 'LIMIT', 0, most - #ids)) do
  ids[#ids + 1] = id
end
for _, id in ipairs(ids) do
  local entry = redis.call('XCLAIM', stream, group, owner, 0, id)[1]
  if entry then
    taken[#taken + 1] = {entry, redis.call('XPENDING', stream, group, id, id, 1)[1][4]}
    redis.call('ZADD', due, now + hold, id)
  else
    redis.call('ZREM', due, id)
    redis.call('XACK', stream, group, id)
    if #redis.call('XRANGE', stream, id, id) == 0 then
      lost[#lost + 1] = id
    end
  end
end

while #taken < most do
  local reply = redis.call('XREADGROUP', 'GROUP', group, owner, 'COUNT', most - #taken, 'STREAMS', stream, '>')
  if not reply then
    break
  end
  for _, entry in ipairs(reply[1][2]) do
    if passes(entry[2]) then
      redis.call('XACK', stream, group, entry[1])
    else
      redis.call('ZADD', due, now + hold, entry[1])
      taken[#taken + 1] = {entry, 1}
    end
  end
end

if #taken == 0 and redis.call('XPENDING', stream, group)[1] > redis.call('ZCARD', due) then
  -- Somebody read as this group without a hold: what they took is due as well.
  for _, pending in ipairs(redis.call('XPENDING', stream, group, '-', '+', 1000)) do
    redis.call('ZADD', due, 'NX', now + hold, pending[1])
  end
end

local newest = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
return {newest and newest[1] or '0-0', lost, taken}

#!lua
-- Appends a batch to one partition, idempotent by event id, with contiguous sequence numbers.
-- KEYS: the stream, its meta hash, two hashes that remember ids in turn
-- ARGV: number of partitions, 1 if the stream's record was asked for it just now, window in seconds, then per run of
-- events that have the same fields: number of fields n, n names, number of events, per event n values, of which the
-- second is its id. Names once a run halve the arguments.
-- Returns the position of each event, in order; one that was there before keeps the position it had.
local stream, meta = KEYS[1], KEYS[2]
local partitions, is_confirmed, window = ARGV[1], ARGV[2] == '1', tonumber(ARGV[3])

local function damaged(key, what)
  return redis.error_reply('DAMAGED ' .. key .. ': ' .. what)
end

local function is_number(text)
  return string.find(text, '^%d+$') and #text <= 15
end

local recorded, last, highest = unpack(redis.call('HMGET', meta, 'partitions', 'sequence', 'highest'))
if recorded and (not is_number(recorded) or tonumber(recorded) < 1) then
  return damaged(meta, 'partitions is no number of partitions')
elseif recorded and recorded ~= partitions then
  return redis.error_reply('PARTITIONS recorded ' .. recorded .. ', asked for ' .. partitions)
elseif not recorded and not is_confirmed then
  return redis.error_reply('UNCONFIRMED') -- the partition is new, or Redis lost its state
end
if not is_number(last or '0') or not is_number(highest or '0') then
  return damaged(meta, 'sequence is no number')
elseif tonumber(last or '0') < tonumber(highest or '0') then
  return damaged(meta, 'sequence is lower than it was')
end

-- Two generations, each a window long: an id is remembered for one window at least, for two at most.
local generation = math.floor(tonumber(redis.call('TIME')[1]) / window)
local current, previous = KEYS[3 + generation % 2], KEYS[3 + (generation + 1) % 2]
local of_current, of_previous = redis.call('HGET', current, ''), redis.call('HGET', previous, '')
if not is_number(of_current or '0') then
  return damaged(current, 'its generation is no number')
elseif not is_number(of_previous or '0') then
  return damaged(previous, 'its generation is no number')
end
if not recorded then
  redis.call('HSET', meta, 'partitions', partitions)
end
if of_current ~= tostring(generation) then
  redis.call('DEL', current)
  redis.call('HSET', current, '', tostring(generation))
  redis.call('EXPIRE', current, 2 * window)
end
local has_previous = of_previous == tostring(generation - 1)

local ids, starts, entries = {}, {}, {}
local argument, last_argument = 4, #ARGV
while argument <= last_argument do
  local width, entry = tonumber(ARGV[argument]), {}
  for n = 1, width do
    entry[2 * n - 1], entry[2 * n] = ARGV[argument + n], ''
  end
  local first = argument + width + 2
  argument = first + width * tonumber(ARGV[first - 1])
  for start = first, argument - 1, width do
    local n = #ids + 1
    ids[n], starts[n], entries[n] = ARGV[start + 1], start, entry
  end
end

local function remembered(key, from, to)
  return redis.call('HMGET', key, unpack(ids, from, to))
end

local sequence = tonumber(last or '0')
local positions = {}
for from = 1, #ids, 1000 do
  local to = math.min(from + 999, #ids)
  local known = remembered(current, from, to)
  local older = has_previous and remembered(previous, from, to)
  for n = 1, to - from + 1 do
    if known[n] and not string.find(known[n], '^%d+%-%d+$') then
      return damaged(current, 'it holds something else than positions')
    elseif older and older[n] and not string.find(older[n], '^%d+%-%d+$') then
      return damaged(previous, 'it holds something else than positions')
    end
  end
  local in_batch, added = {}, {}
  for n = from, to do
    local id = ids[n]
    local position = known[n - from + 1] or (older and older[n - from + 1]) or in_batch[id]
    if not position then
      sequence = sequence + 1
      local entry, start = entries[n], starts[n] - 1
      for value = 1, #entry / 2 do
        entry[2 * value] = ARGV[start + value]
      end
      position = redis.call('XADD', stream, '*', 'ce_sequence', string.format('%016d', sequence), unpack(entry))
      in_batch[id] = position
      added[#added + 1] = id
      added[#added + 1] = position
    end
    positions[n] = position
  end
  if #added > 0 then
    redis.call('HSET', current, unpack(added))
  end
end
-- Even if every id was known: a WAIT after this one must wait for replicas, and it waits for the last write.
local number = string.format('%d', sequence)
redis.call('HSET', meta, 'sequence', number, 'highest', number)
return positions

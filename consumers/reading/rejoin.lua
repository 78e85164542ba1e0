#!lua flags=allow-oom
-- Makes a stream that lost its state go on where the log ends. What came in since goes behind the log's tail, in order,
-- with new ids and sequence numbers; what the log has already is dropped.
-- KEYS: stream, meta, restarts, two hashes that remember ids, lease
-- ARGV: holder, the log's last position, its sequence, last position that stream and log have in common, server's run id,
-- number of partitions or ''
-- Returns how many entries went behind the tail and how many were dropped, an empty list if something was appended under
-- another number of partitions, or nothing if the lease is lost.
local stream, meta, restarts = KEYS[1], KEYS[2], KEYS[3]
local tail, common = ARGV[2], ARGV[4]
if redis.call('GET', KEYS[6]) ~= ARGV[1] then
  return false
end
local recorded = redis.call('HGET', meta, 'partitions')
if ARGV[6] ~= '' then
  if recorded and recorded ~= ARGV[6] then
    return {}
  end
  redis.call('HSET', meta, 'partitions', ARGV[6])
end

local function parts(id)
  local ms, counter = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(counter)
end

local function upto(id, limit)
  local ms, counter = parts(id)
  local limit_ms, limit_counter = parts(limit)
  return ms < limit_ms or (ms == limit_ms and counter <= limit_counter)
end

local last = '0-0'
local info = redis.call('XINFO', 'STREAM', stream)
for field = 1, #info, 2 do
  if info[field] == 'last-generated-id' then
    last = info[field + 1]
  end
end
if upto(last, tail) then
  redis.call('XSETID', stream, tail)
end

local most = 6000 -- names and values that one command of a script can have, or some more
local sequence, moved, dropped = tonumber(ARGV[3]), 0, 0
local from = '(' .. common
while true do
  local entries = redis.call('XRANGE', stream, from, last, 'COUNT', 500)
  if #entries == 0 then
    break
  end
  for _, entry in ipairs(entries) do
    local id, fields = entry[1], entry[2]
    local event_id, numbered
    for n = 1, #fields, 2 do
      if fields[n] == 'ce_id' then
        event_id = fields[n + 1]
      elseif fields[n] == 'ce_sequence' then
        numbered = n + 1
      end
    end
    local memory, known
    for key = 4, 5 do
      local position = event_id and redis.call('HGET', KEYS[key], event_id)
      if position then
        memory, known = KEYS[key], known or (position ~= id and upto(position, tail))
      end
    end
    redis.call('XDEL', stream, id)
    if known then
      dropped = dropped + 1
    else
      if numbered then
        sequence = sequence + 1
        fields[numbered] = string.format('%016d', sequence)
      end
      local position
      if #fields > most then -- no event: whoever decodes it says so
        local left = string.format('%d', (#fields - most) / 2)
        position = redis.call('XADD', stream, '*', 'fields_left_out', left, unpack(fields, 1, most))
      else
        position = redis.call('XADD', stream, '*', unpack(fields))
      end
      if memory then
        redis.call('HSET', memory, event_id, position)
      end
      moved = moved + 1
    end
  end
  from = '(' .. entries[#entries][1]
end

local last_number = string.format('%d', sequence)
redis.call('HSET', meta, 'sequence', last_number, 'highest', last_number, 'compared', ARGV[5])
local number = redis.call('HINCRBY', restarts, 'count', 1)
redis.call('HSET', restarts, number, common .. ' ' .. tail .. ' ' .. ARGV[3])
return {moved, dropped}

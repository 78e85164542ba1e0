#!lua flags=allow-oom
-- Makes a stream anew in which the entries from one on have new ids, behind all others: their ids cannot be used. A server
-- lets no stream go back behind an id that it had, so it is another stream that takes the place. Groups and what they have
-- pending are kept; one that was among those entries gets them again. Refused to a former owner.
-- KEYS: stream, the new stream, two hashes that remember ids in turn, lease
-- ARGV: holder, the id from which on entries get new ones, the log's last position
-- Returns how many got one, or nothing where the lease is lost.
local stream, new = KEYS[1], KEYS[2]
if redis.call('GET', KEYS[5]) ~= ARGV[1] then
  return false
end

-- Numbers of Lua are exact up to 2^53; as text of one width they compare up to 2^64.
local function rank(id)
  local ms, counter = string.match(id, '^(%d+)-(%d+)$')
  return string.rep('0', 20 - #ms) .. ms .. string.rep('0', 20 - #counter) .. counter
end

local from, base = rank(ARGV[2]), ARGV[3]
local function is_kept(id)
  return rank(id) < from
end
local function raise(id)
  if is_kept(id) and rank(base) < rank(id) then
    base = id
  end
end

local groups = {}
for _, fields in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
  local group = {}
  for n = 1, #fields, 2 do
    group[fields[n]] = fields[n + 1]
  end
  groups[#groups + 1] = group
  raise(group['last-delivered-id'])
end

local most = 6000 -- names and values that one command of a script can have, or some more
local function add(id, fields)
  if #fields > most then -- no event: whoever decodes it says so
    local left = string.format('%d', (#fields - most) / 2)
    return redis.call('XADD', new, id, 'fields_left_out', left, unpack(fields, 1, most))
  end
  return redis.call('XADD', new, id, unpack(fields))
end

redis.call('DEL', new)
for _, group in ipairs(groups) do
  redis.call('XGROUP', 'CREATE', new, group['name'], '0', 'MKSTREAM')
end

local most_entries = 200
local moved, start = 0, '-'
while start do
  local entries = redis.call('XRANGE', stream, start, '+', 'COUNT', most_entries)
  for _, entry in ipairs(entries) do
    local id, fields = entry[1], entry[2]
    if is_kept(id) then
      add(id, fields)
      raise(id)
    else
      if moved == 0 and base ~= '0-0' then
        redis.call('XSETID', new, base)
      end
      local position = add('*', fields)
      moved = moved + 1
      for n = 1, #fields, 2 do
        if fields[n] == 'ce_id' then
          for key = 3, 4 do
            if redis.call('HGET', KEYS[key], fields[n + 1]) == id then
              redis.call('HSET', KEYS[key], fields[n + 1], position)
            end
          end
        end
      end
    end
  end
  start = #entries == most_entries and '(' .. entries[#entries][1] -- nothing is behind the last id there is
end
if moved == 0 and base ~= '0-0' then
  redis.call('XSETID', new, base)
end

for _, group in ipairs(groups) do
  local name, last = group['name'], group['last-delivered-id']
  redis.call('XGROUP', 'SETID', new, name, is_kept(last) and last or base)
  local at = '-'
  while at do
    local pending = redis.call('XPENDING', stream, name, at, '+', most_entries)
    for _, one in ipairs(pending) do
      local id, consumer, idle, count = one[1], one[2], one[3], one[4]
      if is_kept(id) then
        redis.call('XCLAIM', new, name, consumer, 0, id, 'IDLE', idle, 'RETRYCOUNT', count, 'FORCE', 'JUSTID')
      else
        redis.call('ZREM', stream .. ':due:' .. name, id)
      end
    end
    at = #pending == most_entries and '(' .. pending[#pending][1]
  end
end
redis.call('RENAME', new, stream)
return moved

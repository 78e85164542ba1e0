#!lua flags=no-writes
-- What stands behind a position of a partition, at one instant.
-- KEYS: stream; ARGV: position, most entries, about how many bytes of them
-- Returns whether the entry at the position is there, its sequence number or '', and the entries behind it.
local position, most, limit = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local there, sequence = 0, ''
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], position, position)) do
  there = 1
  for field = 1, #entry[2], 2 do
    if entry[2][field] == 'ce_sequence' then
      sequence = entry[2][field + 1]
    end
  end
end
local found, size, from = {}, 0, '(' .. position
while #found < most and size < limit do
  -- Few at a time, as only those that are here tell how large they are.
  local wanted = math.min(most - #found, 20)
  local some = redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', wanted)
  for _, entry in ipairs(some) do
    for _, part in ipairs(entry[2]) do
      size = size + #part
    end
    found[#found + 1] = entry
  end
  if #some < wanted then
    break -- and nothing can be asked for behind the last id there is
  end
  from = '(' .. some[#some][1]
end
return {there, sequence, found}

#!lua flags=no-writes
-- Which subjects parked entries block, and from which position on; a page of them.
-- KEYS: parked stream; ARGV: first id, how many entries
-- Returns the id of the last entry looked at, '' if there was none, then the subject and position of each that blocks.
local found = {''}
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], ARGV[1], '+', 'COUNT', ARGV[2])) do
  local fields, subject, position, blocks = entry[2], nil, nil, false
  found[1] = entry[1]
  for n = 1, #fields, 2 do
    if fields[n] == 'ce_subject' then
      subject = fields[n + 1]
    elseif fields[n] == 'parked_position' then
      position = position or fields[n + 1]
    elseif fields[n] == 'parked_blocks' then
      blocks = fields[n + 1] == '1'
    end
  end
  if blocks and subject and position then
    found[#found + 1] = subject
    found[#found + 1] = position
  end
end
return found

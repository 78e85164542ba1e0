#!lua
-- Gives a parked entry to the workers again: moves it, whole, to their private stream. Its position stays known, with the
-- name of the retry, until the work on it ends: Redis may lose its data before.
-- KEYS: parked stream, private stream, set of wanted retries, hash of parked positions
-- ARGV: id in the parked stream, member of the set
local entry = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
redis.call('SREM', KEYS[3], ARGV[2])
if not entry then
  return 0
end
local known = redis.call('HGET', KEYS[4], '=' .. ARGV[1])
local fields, position = {}, known
for n = 1, #entry[2], 2 do
  local name, value = entry[2][n], entry[2][n + 1]
  local theirs = string.match(name, '^parked_field_(.*)$')
  if name == 'parked_position' then
    position = position or value
  elseif name == 'ce_position' then
    position = known or value -- another client may have added the entry with such a field
  elseif theirs or (name ~= 'ce_replay' and string.sub(name, 1, 7) ~= 'parked_') then
    fields[#fields + 1] = theirs or name
    fields[#fields + 1] = value
  end
end
local retry = 'retry-' .. ARGV[1]
redis.call('XADD', KEYS[2], '*', 'ce_position', position, 'ce_replay', retry, unpack(fields))
redis.call('XDEL', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[4], '=' .. ARGV[1])
redis.call('HSET', KEYS[4], position, retry)
return 1

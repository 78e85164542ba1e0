#!lua
-- Appends a batch of recorded events to the private stream of a replay run, once.
-- KEYS: the stream, a hash with the original position of the last event sent, its entry, and how many were sent
-- ARGV: that position as the sender knows it or '', the batch's last original position, seconds until the run is
--   forgotten, then per event: number of values n, n values (field, value, ...)
-- Returns the entry id of the batch's last event; the very batch that was appended last adds nothing.
local stream, progress = KEYS[1], KEYS[2]
local sent = redis.call('HGET', progress, 'position') or ''
if sent == ARGV[2] then
  return redis.call('HGET', progress, 'entry')
end
if sent ~= ARGV[1] then
  return redis.error_reply('ELSEWHERE sent up to ' .. sent .. ', not ' .. ARGV[1])
end
local argument, last, count, entry = 4, #ARGV, 0, nil
while argument <= last do
  local values = tonumber(ARGV[argument])
  entry = redis.call('XADD', stream, '*', unpack(ARGV, argument + 1, argument + values))
  argument, count = argument + 1 + values, count + 1
end
redis.call('HSET', progress, 'position', ARGV[2], 'entry', entry)
redis.call('HINCRBY', progress, 'sent', count)
redis.call('EXPIRE', stream, ARGV[3])
redis.call('EXPIRE', progress, ARGV[3])
return entry

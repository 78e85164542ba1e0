#!lua
-- What append.lua does, less idempotency and sequence: the same arguments, one XADD an event.
local positions, argument, last = {}, 3, #ARGV
while argument <= last do
  local count = tonumber(ARGV[argument + 1])
  positions[#positions + 1] = redis.call('XADD', KEYS[1], '*', unpack(ARGV, argument + 2, argument + 1 + count))
  argument = argument + 2 + count
end
return positions

#!lua
-- What append.lua does, less idempotency and sequence: the same arguments, one XADD an event.
local positions, argument, last = {}, 4, #ARGV
while argument <= last do
  local width, entry = tonumber(ARGV[argument]), {}
  for n = 1, width do
    entry[2 * n - 1], entry[2 * n] = ARGV[argument + n], ''
  end
  local first = argument + width + 2
  argument = first + width * tonumber(ARGV[first - 1])
  for start = first - 1, argument - 2, width do
    for value = 1, width do
      entry[2 * value] = ARGV[start + value]
    end
    positions[#positions + 1] = redis.call('XADD', KEYS[1], '*', unpack(entry))
  end
end
return positions

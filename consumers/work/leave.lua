#!lua flags=allow-oom
-- Removes consumers of a group that have nothing pending and were silent so long; one that has something stays.
-- KEYS: stream; ARGV: group, silence in ms, a consumer that is removed without waiting
local removed = 0
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local about = {}
  for n = 1, #consumer, 2 do
    about[consumer[n]] = consumer[n + 1]
  end
  if about.pending == 0 and (about.idle > tonumber(ARGV[2]) or about.name == ARGV[3]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], about.name)
    removed = removed + 1
  end
end
return removed

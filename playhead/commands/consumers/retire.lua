#!lua flags=allow-oom
-- Removes a group that no process serves, and notes where it stood. What a worker had in hand goes to its private stream;
-- what is gone from the stream is noted, for the worker to read it from the log when it resumes.
-- KEYS: stream, hash of restarts, presence, due, waiting, private stream; ARGV: group
-- Returns 'busy' if a process serves it, 'absent' if there is no such group, otherwise 'removed' and the ids of what is gone.
local stream, private, group = KEYS[1], KEYS[6], ARGV[1]
if redis.call('EXISTS', KEYS[3]) == 1 then
  return {'busy'}
end
if redis.call('EXISTS', stream) == 0 then
  return {'absent'}
end
local position
for _, fields in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
  local about = {}
  for n = 1, #fields, 2 do
    about[fields[n]] = fields[n + 1]
  end
  if about.name == group then
    position = about['last-delivered-id']
  end
end
if not position then
  return {'absent'}
end

local most = 6000 -- names and values that one command of a script can have, or some more
local at, gone = '-', {}
while at do
  local pending = redis.call('XPENDING', stream, group, at, '+', 200)
  for _, one in ipairs(pending) do
    local entry = redis.call('XRANGE', stream, one[1], one[1])[1]
    if entry then
      local fields = {}
      for n = 1, #entry[2], 2 do
        if entry[2][n] ~= 'ce_position' and entry[2][n] ~= 'ce_replay' then
          fields[#fields + 1] = entry[2][n]
          fields[#fields + 1] = entry[2][n + 1]
        end
      end
      if #fields > most then -- no event: whoever decodes it says so
        local left = string.format('%d', (#fields - most) / 2)
        redis.call('XADD', private, '*', 'ce_position', one[1], 'fields_left_out', left, unpack(fields, 1, most))
      else
        redis.call('XADD', private, '*', 'ce_position', one[1], unpack(fields))
      end
    else
      gone[#gone + 1] = one[1]
    end
  end
  at = #pending == 200 and '(' .. pending[#pending][1]
end
redis.call('HSET', KEYS[2], 'retired:' .. group, position)
if #gone > 0 then
  redis.call('HSET', KEYS[2], 'gone:' .. group, table.concat(gone, ' '))
end
redis.call('XGROUP', 'DESTROY', stream, group)
redis.call('DEL', KEYS[4], KEYS[5])
table.insert(gone, 1, 'removed')
return gone

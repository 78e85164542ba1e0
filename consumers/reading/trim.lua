#!lua flags=allow-oom
-- Removes what every group of a stream has made durable, at one instant: a group that is created meanwhile either holds it,
-- or finds it gone. The entry at the floor stays, so that the next gap can be seen.
-- KEYS: stream; ARGV: groups that hold everything as long as they are not there
-- Returns the floor, the name of the group that is least far, and how many entries were removed.
local stream = KEYS[1]
local START = '0-0'

-- Numbers of Lua are exact up to 2^53; as text of one width they compare up to 2^64.
local function rank(id)
  local ms, counter = string.match(id, '^(%d+)-(%d+)$')
  return string.rep('0', 20 - #ms) .. ms .. string.rep('0', 20 - #counter) .. counter
end

local is_there, floor, held_by = {}, nil, nil
local function hold(name, id)
  if not floor or rank(id) < rank(floor) then
    floor, held_by = id, name
  end
end

for _, fields in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
  local group = {}
  for n = 1, #fields, 2 do
    group[fields[n]] = fields[n + 1]
  end
  is_there[group['name']] = true
  hold(group['name'], group['last-delivered-id'])
  if group['pending'] > 0 then
    hold(group['name'], redis.call('XPENDING', stream, group['name'])[2])
  end
end
for _, name in ipairs(ARGV) do
  if not is_there[name] then
    hold(name, START)
  end
end
if not floor or floor == START then
  return {START, held_by or '', 0}
end
return {floor, held_by, redis.call('XTRIM', stream, 'MINID', '~', floor)}

#!lua flags=allow-oom
-- Sets entries that follow one another aside with their reasons, and moves the group past them, at once. Refused to a
-- former owner.
-- KEYS: lease, stream, parked stream, hash of parked subjects, hash of parked positions
-- ARGV: holder, group, '1' if a reader that begins again may come to the entries again; then of each entry its
-- position, its subject or '', '1' if it waits behind that subject, how many fields the parked entry has, and these
-- Returns what became of each: 1 parked; 3 parked already. 2 ends the list: an operator has dropped what the entry's
-- subject was parked for, so it need not wait, and neither it nor what follows was set aside. False to a former owner.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return false
end
local again = ARGV[3] == '1'
local became, passed = {}, nil
local n = 4
while n <= #ARGV do
  local position, subject, waits = ARGV[n], ARGV[n + 1], ARGV[n + 2] == '1'
  local last = n + 3 + tonumber(ARGV[n + 3])
  if again and redis.call('HEXISTS', KEYS[5], position) == 1 then
    became[#became + 1] = 3
  elseif waits and redis.call('HEXISTS', KEYS[4], subject) == 0 then
    became[#became + 1] = 2
    break
  else
    local id = redis.call('XADD', KEYS[3], '*', unpack(ARGV, n + 4, last))
    if again then
      redis.call('HSET', KEYS[5], position, id, '=' .. id, position)
    end
    if subject ~= '' then
      redis.call('HINCRBY', KEYS[4], subject, 1)
    end
    became[#became + 1] = 1
  end
  passed, n = position, last + 1
end
if passed then
  redis.call('XGROUP', 'SETID', KEYS[2], ARGV[2], passed)
end
return became

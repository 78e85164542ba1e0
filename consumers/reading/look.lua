#!lua flags=no-writes
-- What Redis says about a partition at one instant.
-- KEYS: stream, meta, restarts; ARGV: cursor, group
-- Returns the server's run id, the run id of the server that the log's process last compared with the log, the stream's
-- last id, its sequence, the entry at the cursor, the one before and the one behind it, the restarts as field and value,
-- and the highest number that was given.
local function one(command, from, to)
  return redis.call(command, KEYS[1], from, to, 'COUNT', 1)
end
local last = '0-0'
if redis.call('EXISTS', KEYS[1]) == 1 then
  local info = redis.call('XINFO', 'STREAM', KEYS[1])
  for field = 1, #info, 2 do
    if info[field] == 'last-generated-id' then
      last = info[field + 1]
    end
  end
end
local at, before = {}, {}
if ARGV[1] ~= '0-0' then
  at = one('XRANGE', ARGV[1], ARGV[1])
  before = one('XREVRANGE', '(' .. ARGV[1], '-')
end
return {
  string.match(redis.call('INFO', 'server'), 'run_id:(%x+)'),
  redis.call('HGET', KEYS[2], 'compared') or '',
  last,
  redis.call('HGET', KEYS[2], 'sequence') or '0',
  at, before, one('XRANGE', '(' .. ARGV[1], '+'),
  redis.call('HGETALL', KEYS[3]),
  redis.call('HGET', KEYS[2], 'highest') or '0',
}

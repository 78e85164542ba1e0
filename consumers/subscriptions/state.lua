#!lua flags=no-writes
-- What Redis says about the state of a partition at one instant.
-- KEYS: stream, meta, restarts
-- Returns 1 if the log writer has compared the stream with the log since the server started, the stream's last id, its
-- sequence number, and the restarts as field and value.
local last = '0-0'
if redis.call('EXISTS', KEYS[1]) == 1 then
  local info = redis.call('XINFO', 'STREAM', KEYS[1])
  for field = 1, #info, 2 do
    if info[field] == 'last-generated-id' then
      last = info[field + 1]
    end
  end
end
local run_id = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
return {
  redis.call('HGET', KEYS[2], 'compared') == run_id and 1 or 0,
  last,
  redis.call('HGET', KEYS[2], 'sequence') or '0',
  redis.call('HGETALL', KEYS[3]),
}

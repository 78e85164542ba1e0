#!lua flags=allow-oom
-- Notes that stream and log agree on this server. From then on nobody appends under another number of partitions.
-- KEYS: meta; ARGV: server's run id, number of partitions or ''
-- Returns 1, or 0 if something was appended under another number.
local recorded = redis.call('HGET', KEYS[1], 'partitions')
if ARGV[2] ~= '' then
  if recorded and recorded ~= ARGV[2] then
    return 0
  end
  redis.call('HSET', KEYS[1], 'partitions', ARGV[2])
end
redis.call('HSET', KEYS[1], 'compared', ARGV[1])
return 1

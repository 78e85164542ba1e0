#!lua flags=allow-oom
-- Publishes what a consumer says of itself; even if the server is out of memory.
-- KEYS: hash of reports; ARGV: group, report
return redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])

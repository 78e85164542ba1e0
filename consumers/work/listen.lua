#!lua flags=allow-oom
-- Lets an entry in hand wait for something with a name, from now on, and no other entry for the same.
-- KEYS: waiting; ARGV: entry id, name
redis.call('HSET', KEYS[1], 'entry ' .. ARGV[1], ARGV[2], 'name ' .. ARGV[2], ARGV[1])
return 1

SELECT pg_get_userbyid(class.relowner)
FROM pg_class AS class JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
WHERE namespace.nspname = %s AND class.relname = 'playhead_migrations' AND class.relkind = 'r'

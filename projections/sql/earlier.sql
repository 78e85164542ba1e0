-- The schema in which the search path of the server, the role or the URL finds tables of ours.
SELECT namespace.nspname
FROM pg_class AS class JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
WHERE class.oid = to_regclass('playhead_migrations') AND class.relkind = 'r'

-- The role that `playhead db roles` made to own our tables, if it does, and whether we may be it.
SELECT owner.rolname, pg_has_role(owner.oid, 'MEMBER')
FROM pg_class AS class
JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
JOIN pg_roles AS owner ON owner.oid = class.relowner
WHERE namespace.nspname = %s AND class.relname = 'playhead_migrations' AND class.relkind = 'r'
  AND owner.rolname = current_database() || '_owner'

-- The role that `playhead db roles` made to own our tables, if it does, and whether we may be it.
SELECT owner.rolname, pg_has_role(owner.oid, 'MEMBER')
FROM pg_class AS class JOIN pg_roles AS owner ON owner.oid = class.relowner
WHERE class.oid = to_regclass('playhead_migrations') AND owner.rolname = current_database() || '_owner'

-- Whether somebody else than the owner of our tables has some in this database, but for those of extensions.
SELECT EXISTS (
    SELECT FROM pg_class AS class
    JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
    WHERE class.relkind IN ('r', 'p', 'v', 'm', 'f')
      AND namespace.nspname <> 'information_schema'
      AND namespace.nspname NOT LIKE 'pg\_%%'
      AND class.relowner <> (SELECT oid FROM pg_roles WHERE rolname = %s)
      AND NOT (class.relname = 'playhead_migrations' AND class.relkind = 'v')
      AND NOT EXISTS (
        SELECT FROM pg_depend AS depends
        WHERE depends.classid = 'pg_class'::regclass AND depends.objid = class.oid AND depends.deptype = 'e'
      )
)

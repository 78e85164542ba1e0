-- Tables and views that somebody made in this database, but for those of extensions, and for the view that marks where tables
-- of ours were.
SELECT namespace.nspname || '.' || class.relname
FROM pg_class AS class
JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
WHERE class.relkind IN ('r', 'p', 'v', 'm', 'f')
  AND namespace.nspname <> 'information_schema'
  AND namespace.nspname NOT LIKE 'pg\_%'
  AND NOT (class.relname = 'playhead_migrations' AND class.relkind = 'v')
  AND NOT EXISTS (
    SELECT FROM pg_depend AS depends
    WHERE depends.classid = 'pg_class'::regclass AND depends.objid = class.oid AND depends.deptype = 'e'
  )
ORDER BY 1

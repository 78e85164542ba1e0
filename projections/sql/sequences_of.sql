-- Sequences that number the rows of these tables.
SELECT sequence.relname
FROM pg_depend AS depends
JOIN pg_class AS sequence ON sequence.oid = depends.objid AND sequence.relkind = 'S'
JOIN pg_class AS class ON class.oid = depends.refobjid
WHERE depends.classid = 'pg_class'::regclass AND depends.refclassid = 'pg_class'::regclass AND depends.deptype IN ('a', 'i')
    AND class.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())
    AND class.relname = ANY(%s)

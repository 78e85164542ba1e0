-- Tables, views and sequences of a role in the schema where ours are.
SELECT relname, relkind::text FROM pg_class
WHERE relowner = (SELECT oid FROM pg_roles WHERE rolname = %s) AND relnamespace = current_schema()::regnamespace
    AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
ORDER BY relname

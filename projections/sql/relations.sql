-- Tables, views and sequences of a role in the schema where ours are.
SELECT relname, relkind::text FROM pg_class
WHERE relowner = (SELECT oid FROM pg_roles WHERE rolname = %s)
    AND relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())
    AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
ORDER BY relname

-- The schema of this connection, if it is there and the role may not use it.
SELECT quote_ident(nspname) FROM pg_namespace
WHERE nspname = (parse_ident(current_setting('search_path')))[1] AND NOT has_schema_privilege(oid, 'USAGE')

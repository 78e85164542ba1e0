-- What roles are beyond any grant on our tables, the statement that changes it, and whether it is too much. Names are given in the
-- order of their rights, the owner's first.
WITH ours AS (
    SELECT role.*, named.rank
    FROM unnest(%(names)s::text[]) WITH ORDINALITY AS named (name, rank) JOIN pg_roles AS role ON role.rolname = named.name
), dangerous AS (
    SELECT role.oid, ours.rank
    FROM pg_roles AS role LEFT JOIN ours USING (oid)
    WHERE ours.rank IS NOT NULL
        OR role.rolsuper OR role.rolcreaterole OR role.rolcreatedb OR role.rolreplication OR role.rolbypassrls
        OR role.rolname IN (
            'pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files', 'pg_write_all_data', 'pg_maintain'
        )
)
SELECT ours.rolname, 'is ' || power.word, format('ALTER ROLE %%I NO%%s', ours.rolname, power.word), true
FROM ours, LATERAL (
    VALUES ('SUPERUSER', ours.rolsuper), ('CREATEROLE', ours.rolcreaterole), ('CREATEDB', ours.rolcreatedb),
        ('REPLICATION', ours.rolreplication), ('BYPASSRLS', ours.rolbypassrls)
) AS power (word, has)
WHERE power.has
UNION ALL
SELECT ours.rolname, 'is a member of ' || granted.rolname,
    format('REVOKE %%I FROM %%I', granted.rolname, ours.rolname) || coalesce(format(' GRANTED BY %%I', grantor.rolname), ''),
    EXISTS (
        SELECT FROM dangerous
        WHERE pg_has_role(granted.oid, dangerous.oid, 'MEMBER') AND (dangerous.rank IS NULL OR dangerous.rank < ours.rank)
    )
FROM pg_auth_members AS membership
JOIN ours ON ours.oid = membership.member
JOIN pg_roles AS granted ON granted.oid = membership.roleid
LEFT JOIN pg_roles AS grantor ON grantor.oid = membership.grantor
UNION ALL
SELECT ours.rolname, 'owns the database', format('ALTER DATABASE %%I OWNER TO %%I', datname, %(owner)s::text), true
FROM pg_database JOIN ours ON ours.oid = datdba
WHERE datname = current_database() AND ours.rank > 1
UNION ALL
SELECT ours.rolname, 'owns the schema ' || nspname, format('ALTER SCHEMA %%I OWNER TO %%I', nspname, %(owner)s::text), true
FROM pg_namespace JOIN ours ON ours.oid = nspowner
WHERE nspname = current_schema() AND ours.rank > 1
UNION ALL
SELECT ours.rolname, 'cannot log in, and that stays', format('ALTER ROLE %%I LOGIN', ours.rolname), false
FROM ours
WHERE NOT ours.rolcanlogin
ORDER BY 1, 2

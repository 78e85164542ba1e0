-- What was granted in this database on the tables that are named, and on those of the owner: to whom, what, on what.
WITH relations AS (
    SELECT oid, relname, relkind, relowner, relacl FROM pg_class
    WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema()) AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
        AND (relname = ANY(%(tables)s) OR relowner = (SELECT oid FROM pg_roles WHERE rolname = %(owner)s))
), granted AS (
    SELECT entry.grantee, entry.privilege_type, relname::text AS thing, relowner AS owner
    FROM relations, aclexplode(relacl) AS entry
    UNION ALL
    SELECT entry.grantee, entry.privilege_type, format('%%s(%%s)', relname, attname), relowner
    FROM relations JOIN pg_attribute ON attrelid = relations.oid, aclexplode(attacl) AS entry
    UNION ALL
    SELECT relowner, 'OWNER', relname, 0::oid FROM relations
    UNION ALL
    SELECT entry.grantee, entry.privilege_type, 'schema ' || nspname, nspowner
    FROM pg_namespace, aclexplode(nspacl) AS entry WHERE nspname = current_schema()
    UNION ALL
    SELECT entry.grantee, entry.privilege_type, 'database ' || datname, datdba
    FROM pg_database, aclexplode(datacl) AS entry WHERE datname = current_database()
    UNION ALL
    SELECT entry.grantee, entry.privilege_type,
        CASE defaclobjtype WHEN 'S' THEN 'later sequences' ELSE 'later tables' END
            || CASE defaclnamespace WHEN 0 THEN ' of every schema' ELSE '' END,
        defaclrole
    FROM pg_default_acl, aclexplode(defaclacl) AS entry
    WHERE defaclrole = (SELECT oid FROM pg_roles WHERE rolname = %(owner)s) AND defaclobjtype IN ('r', 'S')
        AND (defaclnamespace = 0 OR defaclnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema()))
)
SELECT coalesce(role.rolname, 'PUBLIC'), granted.privilege_type, granted.thing
FROM granted LEFT JOIN pg_roles AS role ON role.oid = granted.grantee
WHERE granted.grantee <> granted.owner

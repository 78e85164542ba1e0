-- Grants that do not follow a table into another schema: who may use the schema, and what new tables are granted to whom.
SELECT DISTINCT format('GRANT USAGE ON SCHEMA %%I TO %%s', %(schema)s::text, coalesce(quote_ident(role.rolname), 'PUBLIC'))
FROM pg_class AS class
CROSS JOIN LATERAL (SELECT class.relowner UNION SELECT grantee FROM aclexplode(class.relacl)) AS one (grantee)
LEFT JOIN pg_roles AS role ON role.oid = one.grantee
WHERE class.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = %(schema)s)
  AND (role.oid IS NULL OR has_schema_privilege(role.oid, %(earlier)s, 'USAGE'))
UNION ALL
SELECT format(
    'ALTER DEFAULT PRIVILEGES FOR ROLE %%I IN SCHEMA %%I GRANT %%s ON %%s TO %%s',
    pg_get_userbyid(standing.defaclrole),
    %(schema)s::text,
    one.privilege_type,
    CASE standing.defaclobjtype WHEN 'r' THEN 'TABLES' ELSE 'SEQUENCES' END,
    coalesce(quote_ident(role.rolname), 'PUBLIC')
)
FROM pg_default_acl AS standing
CROSS JOIN LATERAL aclexplode(standing.defaclacl) AS one
LEFT JOIN pg_roles AS role ON role.oid = one.grantee
WHERE standing.defaclnamespace = (SELECT oid FROM pg_namespace WHERE nspname = %(earlier)s)
  AND standing.defaclobjtype IN ('r', 'S')
  AND pg_has_role(standing.defaclrole, 'MEMBER')
  AND EXISTS (
    SELECT FROM pg_class AS class
    WHERE class.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = %(schema)s)
      AND class.relowner = standing.defaclrole
  )

-- Gives what the superuser made in this database to the role of programs, but for what belongs to an extension.
DO $$
DECLARE
    statement text;
BEGIN
    FOR statement IN
        WITH made AS (
            SELECT 'pg_namespace'::regclass AS kind, oid, format('SCHEMA %I', nspname) AS object
            FROM pg_namespace WHERE nspowner = 10
            UNION ALL
            SELECT 'pg_class'::regclass, oid, format(
                '%s %s',
                CASE relkind
                    WHEN 'v' THEN 'VIEW'
                    WHEN 'm' THEN 'MATERIALIZED VIEW'
                    WHEN 'S' THEN 'SEQUENCE'
                    WHEN 'f' THEN 'FOREIGN TABLE'
                    ELSE 'TABLE'
                END,
                oid::regclass
            )
            FROM pg_class WHERE relowner = 10 AND relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
            UNION ALL
            SELECT 'pg_proc'::regclass, oid, format('ROUTINE %s', oid::regprocedure)
            FROM pg_proc WHERE proowner = 10
            UNION ALL
            SELECT 'pg_type'::regclass, pg_type.oid, format('TYPE %s', pg_type.oid::regtype)
            FROM pg_type LEFT JOIN pg_class ON pg_class.oid = typrelid
            WHERE typowner = 10 AND (typtype IN ('d', 'e', 'r') OR relkind = 'c')
            UNION ALL
            SELECT 'pg_statistic_ext'::regclass, pg_statistic_ext.oid, format('STATISTICS %I.%I', nspname, stxname)
            FROM pg_statistic_ext JOIN pg_namespace ON pg_namespace.oid = stxnamespace WHERE stxowner = 10
            UNION ALL
            SELECT 'pg_largeobject'::regclass, oid, format('LARGE OBJECT %s', oid)
            FROM pg_largeobject_metadata WHERE lomowner = 10
        )
        SELECT format('ALTER %s OWNER TO playhead', object) FROM made
        WHERE (oid >= 16384 OR kind = 'pg_largeobject'::regclass) AND NOT EXISTS (
            SELECT FROM pg_depend WHERE classid = made.kind AND objid = made.oid AND (
                deptype = 'e'
                -- a sequence follows the column that owns it
                OR (object LIKE 'SEQUENCE %' AND refclassid = 'pg_class'::regclass AND deptype IN ('a', 'i'))
            )
        )
    LOOP
        EXECUTE statement;
    END LOOP;
END $$

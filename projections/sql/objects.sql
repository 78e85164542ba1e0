-- What stands in a schema by itself. What belongs to a table, a type or an extension follows that.
SELECT found.type, found.identity
FROM pg_depend AS depends, pg_identify_object(depends.classid, depends.objid, 0) AS found
WHERE depends.refclassid = 'pg_namespace'::regclass
  AND depends.refobjid = (SELECT oid FROM pg_namespace WHERE nspname = %s)
  AND depends.deptype = 'n'
  AND NOT EXISTS (
    SELECT FROM pg_depend AS owner
    WHERE owner.classid = depends.classid AND owner.objid = depends.objid AND owner.objsubid = 0
      AND (owner.deptype IN ('i', 'e') OR (owner.deptype = 'a' AND found.type = 'sequence'))
  )

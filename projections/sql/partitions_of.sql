-- Partitions of tables, which a projection may have made since, in the schema where the tables are.
SELECT found.identity
FROM unnest(%(of)s::regclass[]) AS parent,
    pg_partition_tree(parent) AS tree
JOIN pg_class AS class ON class.oid = tree.relid
CROSS JOIN pg_identify_object('pg_class'::regclass, class.oid, 0) AS found
WHERE class.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = %(in)s)

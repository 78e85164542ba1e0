-- Key by key: a search for all of them at once would compare each with every row of the table.
SELECT DISTINCT ON (match.signature) match.signature, match.organization_id, match.profile
FROM unnest(%s::text[]) AS given (key), LATERAL (
    SELECT signature, organization_id, profile FROM organization_matches WHERE keys @> ARRAY[given.key]
) AS match

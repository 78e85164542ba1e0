UPDATE organization_matches AS match SET organization_id = given.new
FROM unnest(%s::uuid[], %s::uuid[]) AS given (old, new)
WHERE match.organization_id = given.old

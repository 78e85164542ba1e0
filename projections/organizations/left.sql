-- Profiles that no source has any more; gives the organizations they were in.
DELETE FROM organization_matches AS match
WHERE signature = ANY(%s) AND NOT EXISTS (SELECT FROM sources WHERE sources.signature = match.signature)
RETURNING organization_id

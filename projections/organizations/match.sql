INSERT INTO organization_matches
SELECT * FROM jsonb_populate_recordset(NULL::organization_matches, %s::jsonb)
ON CONFLICT (signature) DO UPDATE SET organization_id = excluded.organization_id

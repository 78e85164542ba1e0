SELECT signature, organization_id, profile FROM organization_matches WHERE keys && %s::text[]

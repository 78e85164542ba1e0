SELECT signature, organization_id FROM organization_matches WHERE signature = ANY(%s)

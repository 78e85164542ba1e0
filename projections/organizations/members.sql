SELECT signature, profile FROM organization_matches WHERE organization_id = ANY(%s::uuid[])

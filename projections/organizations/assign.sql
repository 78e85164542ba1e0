UPDATE sources SET organization_id = match.organization_id
FROM organization_matches AS match
WHERE match.signature = sources.signature
    AND (sources.job_id = ANY(%s) OR sources.organization_id = ANY(%s::uuid[]) OR sources.signature = ANY(%s))
    AND sources.organization_id IS DISTINCT FROM match.organization_id

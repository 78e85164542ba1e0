-- Jobs with a source that stands in another organization than what the rule looks at, or in none.
SELECT DISTINCT sources.job_id
FROM sources LEFT JOIN organization_matches AS match ON match.signature = sources.signature
WHERE sources.job_id = ANY(%s) AND match.organization_id IS DISTINCT FROM sources.organization_id

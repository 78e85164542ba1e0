SELECT DISTINCT organization_id::text, job_id FROM sources WHERE job_id = ANY(%s) ORDER BY 1, 2

DELETE FROM sources WHERE job_id = ANY(%s) RETURNING organization_id, signature

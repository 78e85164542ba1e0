SELECT job_id, precedence FROM organization_results WHERE job_id = ANY(%s)

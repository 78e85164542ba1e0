SELECT job_id, precedence FROM organization_results

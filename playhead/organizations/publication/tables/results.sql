SELECT job_id, outcome, repaired::integer AS repaired, organizations, scraper_id, recorded_at
FROM organization_results ORDER BY job_id

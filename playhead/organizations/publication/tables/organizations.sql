SELECT
    id, name, alternate_name, description, email, website, legal_status, year_incorporated, job_id, scraper_id,
    recorded_at
FROM organizations ORDER BY id

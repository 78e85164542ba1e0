SELECT
    id, organization_id, name, service_type, description, url, email, status, application_process, fees_description,
    eligibility_description, job_id, scraper_id, recorded_at
FROM services ORDER BY id

SELECT
    id, organization_id, location_id, service_id, number, extension, type, description, job_id, scraper_id, recorded_at
FROM phones ORDER BY id

SELECT job_id, scraper_id, source_url, recorded_at, event_id, body ->> 'name' AS name FROM sources
WHERE organization_id = %(id)s::uuid
ORDER BY recorded_at DESC, job_id DESC, ordinal DESC

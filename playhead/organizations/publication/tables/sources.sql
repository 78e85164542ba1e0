SELECT job_id, ordinal, organization_id, body ->> 'name' AS name, scraper_id, source_url, recorded_at, event_id
FROM sources ORDER BY job_id, ordinal

SELECT
    id, organization_id, service_id, location_id, valid_from, valid_to, dtstart, until, wkst, freq, interval, byday,
    bymonthday, description, opens_at, closes_at, job_id, scraper_id, recorded_at
FROM schedules ORDER BY id

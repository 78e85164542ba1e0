SELECT given.id::text, newest.body, newest.job_id, newest.scraper_id, newest.recorded_at
FROM unnest(%s::uuid[]) AS given (id), LATERAL (
    SELECT body::text, job_id, scraper_id, recorded_at FROM sources WHERE organization_id = given.id
    ORDER BY recorded_at DESC, job_id DESC, ordinal DESC LIMIT %s
) AS newest

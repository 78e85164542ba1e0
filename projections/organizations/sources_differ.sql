WITH
    expected AS (
        SELECT job_id, ordinal, scraper_id, source_url, recorded_at, event_id, label, signature, body
        FROM jsonb_populate_recordset(NULL::sources, %(sources)s::jsonb)
    ),
    standing AS (
        SELECT job_id, ordinal, scraper_id, source_url, recorded_at, event_id, label, signature, body
        FROM sources WHERE job_id = ANY(%(jobs)s)
    )
(SELECT job_id FROM (TABLE expected EXCEPT TABLE standing) AS one)
UNION (SELECT job_id FROM (TABLE standing EXCEPT TABLE expected) AS other)

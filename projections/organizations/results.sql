INSERT INTO organization_results
SELECT * FROM jsonb_populate_recordset(NULL::organization_results, %s::jsonb)
ON CONFLICT (job_id) DO UPDATE SET
    outcome = excluded.outcome,
    repaired = excluded.repaired,
    organizations = excluded.organizations,
    scraper_id = excluded.scraper_id,
    recorded_at = excluded.recorded_at,
    event_id = excluded.event_id,
    precedence = excluded.precedence

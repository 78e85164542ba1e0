SELECT
    coalesce(results.scraper_id, 'unknown') AS scraper, count(*) AS results,
    count(*) FILTER (WHERE outcome = 'organizations') AS with_organizations,
    (
        SELECT count(DISTINCT organization_id) FROM sources WHERE sources.scraper_id IS results.scraper_id
    ) AS organizations,
    substr(max(recorded_at), 1, 10) AS last
FROM results GROUP BY results.scraper_id ORDER BY scraper

SELECT
    organization.id, organization.name, organization.alternate_name,
    (
        SELECT concat_ws(', ', location.city, location.state_province) FROM locations AS location
        WHERE location.organization_id = organization.id
        ORDER BY location.city IS NULL, location.id LIMIT 1
    ) AS place,
    (SELECT count(*) FROM sources WHERE sources.organization_id = organization.id) AS sources
FROM organizations AS organization
WHERE
    to_tsvector('simple', left(organization.name || ' ' || coalesce(organization.alternate_name, ''), 2000))
    @@ to_tsquery('simple', %(words)s)
    AND (
        %(scraper)s::text IS NULL
        OR EXISTS (
            SELECT FROM sources
            WHERE sources.organization_id = organization.id AND sources.scraper_id = %(scraper)s
        )
    )
ORDER BY lower(organization.name), organization.id
LIMIT %(limit)s

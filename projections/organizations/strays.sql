-- Organizations that some table has rows of, and no result speaks of.
SELECT found.organization_id::text, string_agg(found.place, ', ' ORDER BY found.place)
FROM (
    SELECT id AS organization_id, 'organizations' AS place FROM organizations
    UNION SELECT organization_id, 'locations' FROM locations
    UNION SELECT organization_id, 'services' FROM services
    UNION SELECT organization_id, 'phones' FROM phones
    UNION SELECT organization_id, 'schedules' FROM schedules
    UNION SELECT organization_id, 'organization_matches' FROM organization_matches
) AS found
WHERE NOT EXISTS (SELECT FROM sources WHERE sources.organization_id = found.organization_id)
GROUP BY found.organization_id
ORDER BY found.organization_id

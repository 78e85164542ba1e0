-- Every location that has a point, with what a map shows of it.
SELECT
    locations.id, locations.longitude, locations.latitude, organizations.id AS organization_id,
    organizations.name AS organization, locations.name, locations.address_1, locations.address_2, locations.city,
    locations.state_province, locations.postal_code, locations.country, organizations.website, organizations.email,
    locations.scraper_id, locations.recorded_at
FROM locations JOIN organizations ON organizations.id = locations.organization_id
WHERE locations.latitude IS NOT NULL AND locations.longitude IS NOT NULL
ORDER BY locations.id

SELECT
    id, organization_id, location_type, name, description, latitude, longitude, address_1, address_2, city,
    state_province, postal_code, country, job_id, scraper_id, recorded_at
FROM locations ORDER BY id

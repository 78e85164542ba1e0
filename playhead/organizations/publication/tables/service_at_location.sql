SELECT services.id AS service_id, location_id
FROM services CROSS JOIN unnest(location_ids) AS location_id
ORDER BY services.id, location_id

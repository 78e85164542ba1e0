SELECT 'a description' AS what, count(*) AS organizations FROM organizations WHERE description IS NOT NULL
UNION ALL SELECT 'a website', count(*) FROM organizations WHERE website IS NOT NULL
UNION ALL SELECT 'an email address', count(*) FROM organizations WHERE email IS NOT NULL
UNION ALL SELECT 'a telephone number', count(DISTINCT organization_id) FROM phones
UNION ALL SELECT 'a street address', count(DISTINCT organization_id) FROM locations WHERE address_1 IS NOT NULL
UNION ALL SELECT 'coordinates', count(DISTINCT organization_id) FROM locations WHERE latitude IS NOT NULL
UNION ALL SELECT 'a service', count(DISTINCT organization_id) FROM services
UNION ALL SELECT 'opening hours', count(DISTINCT organization_id) FROM schedules
UNION ALL SELECT 'more than one source', count(*)
FROM (SELECT organization_id FROM sources GROUP BY organization_id HAVING count(*) > 1)
UNION ALL SELECT 'more than one scraper', count(*)
FROM (SELECT organization_id FROM sources GROUP BY organization_id HAVING count(DISTINCT scraper_id) > 1)

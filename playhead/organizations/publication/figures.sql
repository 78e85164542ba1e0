SELECT
    (SELECT count(*) FROM results) AS results,
    (SELECT count(*) FROM results WHERE outcome = 'organizations') AS with_organizations,
    (SELECT count(*) FROM results WHERE repaired) AS repaired,
    (SELECT min(recorded_at) FROM results) AS first,
    (SELECT max(recorded_at) FROM results) AS last,
    (SELECT count(*) FROM organizations) AS organizations,
    (SELECT count(*) FROM locations) AS locations,
    (SELECT count(*) FROM locations WHERE latitude IS NOT NULL) AS points,
    (SELECT count(*) FROM services) AS services,
    (SELECT count(*) FROM phones) AS phones,
    (SELECT count(*) FROM schedules) AS schedules,
    (SELECT count(*) FROM sources) AS sources

SELECT
    (SELECT count(*) FROM organizations) AS organizations,
    (SELECT count(*) FROM locations) AS locations,
    (SELECT count(*) FROM services) AS services,
    (SELECT count(*) FROM phones) AS phones,
    (SELECT count(*) FROM schedules) AS schedules,
    (SELECT count(*) FROM sources) AS sources

WITH standing AS (SELECT * FROM jobs WHERE job_id IN (SELECT job_id FROM pg_temp.jobs_incoming))
SELECT job_id FROM (TABLE pg_temp.jobs_incoming EXCEPT TABLE standing) AS other

WITH
    expected AS (SELECT * FROM jsonb_populate_recordset(NULL::organization_results, %(results)s::jsonb)),
    standing AS (SELECT * FROM organization_results WHERE job_id = ANY(%(jobs)s))
(SELECT job_id FROM (TABLE expected EXCEPT TABLE standing) AS one)
UNION (SELECT job_id FROM (TABLE standing EXCEPT TABLE expected) AS other)

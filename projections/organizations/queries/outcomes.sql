SELECT
    outcome, count(*) AS results, count(*) FILTER (WHERE repaired) AS repaired,
    coalesce(sum(organizations), 0)::bigint AS organizations
FROM organization_results GROUP BY outcome ORDER BY count(*) DESC, outcome

-- The oldest source of each organization and of each signature.
SELECT given.id::text, oldest.recorded_at, oldest.job_id, oldest.ordinal, oldest.label
FROM unnest(%s::uuid[]) AS given (id), LATERAL (
    SELECT recorded_at, job_id, ordinal, label FROM sources WHERE organization_id = given.id
    ORDER BY recorded_at, job_id, ordinal LIMIT 1
) AS oldest
UNION ALL
SELECT given.signature, oldest.recorded_at, oldest.job_id, oldest.ordinal, oldest.label
FROM unnest(%s::text[]) AS given (signature), LATERAL (
    SELECT recorded_at, job_id, ordinal, label FROM sources WHERE sources.signature = given.signature
    ORDER BY recorded_at, job_id, ordinal LIMIT 1
) AS oldest

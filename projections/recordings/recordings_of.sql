SELECT
    id, meeting_id, created_at, duration_in_ms, sha256, filename, user_id, strategy, missing_chunk_ids, cuts
FROM recordings
WHERE meeting_id = ANY(%s)
ORDER BY user_id NULLS FIRST, id

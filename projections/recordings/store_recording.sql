INSERT INTO recordings (
    id, meeting_id, created_at, duration_in_ms, sha256, filename, user_id, strategy, missing_chunk_ids, cuts
) VALUES (
    %(id)s, %(meeting_id)s, %(created_at)s, %(duration_in_ms)s, %(sha256)s, %(filename)s, %(user_id)s,
    %(strategy)s, %(missing_chunk_ids)s, %(cuts)s
)
ON CONFLICT (id) DO UPDATE SET
    meeting_id = excluded.meeting_id,
    created_at = excluded.created_at,
    duration_in_ms = excluded.duration_in_ms,
    sha256 = excluded.sha256,
    filename = excluded.filename,
    user_id = excluded.user_id,
    strategy = excluded.strategy,
    missing_chunk_ids = excluded.missing_chunk_ids,
    cuts = excluded.cuts

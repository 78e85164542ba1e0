SELECT
    m.id, m.status, m.strategy, m.started_at, m.stopped_at, m.problem,
    to_timestamp(split_part(m.event_order, '-', 1)::bigint / 1000.0) AS last_event_at,
    coalesce(t.done, 0) AS done, coalesce(t.failed, 0) AS failed, coalesce(t.unfinished, 0) AS unfinished,
    coalesce(r.recordings, 0) AS recordings, coalesce(r.missing, 0) AS missing
FROM meetings m
LEFT JOIN (
    SELECT
        meeting_id,
        count(*) FILTER (WHERE transcode_status = 'DONE') AS done,
        count(*) FILTER (WHERE transcode_status = 'FAILED') AS failed,
        count(*) FILTER (WHERE transcode_status IN ('QUEUED', 'IN_PROGRESS')) AS unfinished
    FROM temp_recordings GROUP BY meeting_id
) t ON t.meeting_id = m.id
LEFT JOIN (
    SELECT meeting_id, count(*) AS recordings, max(cardinality(missing_chunk_ids)) AS missing
    FROM recordings GROUP BY meeting_id
) r ON r.meeting_id = m.id
ORDER BY m.started_at DESC NULLS LAST, m.id

-- Meetings that have no row, and the tables that have rows of them.
SELECT row.meeting_id, string_agg(DISTINCT row.place, ', ' ORDER BY row.place)
FROM (
    SELECT meeting_id, 'temp_recordings' AS place FROM temp_recordings
    UNION ALL SELECT meeting_id, 'recordings' FROM recordings
) AS row
WHERE NOT EXISTS (SELECT FROM meetings WHERE meetings.id = row.meeting_id)
GROUP BY row.meeting_id
ORDER BY row.meeting_id

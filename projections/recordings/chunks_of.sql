SELECT
    id, meeting_id, user_id, guild_id, sequence, rate, channels, started_at, created_at, completed_at,
    pcm_path, mp3_path, transcode_status, error, sha256, duration_ms, samples, cleaned
FROM temp_recordings
WHERE meeting_id = ANY(%s)
ORDER BY started_at, user_id, sequence

INSERT INTO temp_recordings (
    id, meeting_id, user_id, guild_id, sequence, rate, channels, started_at, created_at, completed_at,
    pcm_path, mp3_path, transcode_status, error, sha256, duration_ms, samples, cleaned
) VALUES (
    %(id)s, %(meeting_id)s, %(user_id)s, %(guild_id)s, %(sequence)s, %(rate)s, %(channels)s, %(started_at)s,
    %(created_at)s, %(completed_at)s, %(pcm_path)s, %(mp3_path)s, %(transcode_status)s, %(error)s, %(sha256)s,
    %(duration_ms)s, %(samples)s, %(cleaned)s
)
ON CONFLICT (id) DO UPDATE SET
    meeting_id = excluded.meeting_id,
    user_id = excluded.user_id,
    guild_id = excluded.guild_id,
    sequence = excluded.sequence,
    rate = excluded.rate,
    channels = excluded.channels,
    started_at = excluded.started_at,
    created_at = excluded.created_at,
    completed_at = excluded.completed_at,
    pcm_path = excluded.pcm_path,
    mp3_path = excluded.mp3_path,
    transcode_status = excluded.transcode_status,
    error = excluded.error,
    sha256 = excluded.sha256,
    duration_ms = excluded.duration_ms,
    samples = excluded.samples,
    cleaned = excluded.cleaned

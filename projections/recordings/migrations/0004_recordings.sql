-- One row a meeting. It remembers the last event of the meeting that was applied: what is not behind it is a repetition.
CREATE TABLE meetings (
    id text PRIMARY KEY,
    guild_id text,
    channel_id text,
    strategy text,
    status text NOT NULL CHECK (status IN ('ACTIVE', 'STOPPED', 'PROMOTED', 'PROMOTION_FAILED')),
    started_at timestamptz,
    stopped_at timestamptz,
    user_ids text[] NOT NULL DEFAULT '{}',
    problem text, -- why the last promotion failed
    event_order text COLLATE "C" NOT NULL
);

-- One row a chunk, until the recordings of its meeting are whole.
CREATE TABLE temp_recordings (
    id text PRIMARY KEY,
    meeting_id text NOT NULL,
    user_id text NOT NULL,
    guild_id text NOT NULL,
    sequence bigint NOT NULL,
    rate integer NOT NULL,
    channels integer NOT NULL,
    started_at timestamptz NOT NULL, -- of its first frame
    created_at timestamptz NOT NULL,
    completed_at timestamptz,
    pcm_path text NOT NULL,
    mp3_path text,
    transcode_status text NOT NULL CHECK (transcode_status IN ('QUEUED', 'IN_PROGRESS', 'DONE', 'FAILED')),
    error text,
    sha256 text,
    duration_ms bigint,
    samples bigint,
    cleaned boolean NOT NULL DEFAULT false
);
CREATE INDEX temp_recordings_meeting ON temp_recordings (meeting_id);

CREATE TABLE recordings (
    id text PRIMARY KEY,
    meeting_id text NOT NULL,
    created_at timestamptz NOT NULL,
    duration_in_ms bigint NOT NULL,
    sha256 text NOT NULL,
    filename text NOT NULL,
    user_id text, -- null: all participants
    strategy text NOT NULL,
    missing_chunk_ids text[] NOT NULL DEFAULT '{}'
);
CREATE INDEX recordings_meeting ON recordings (meeting_id);

-- One row a job, written from its latest event alone.
CREATE TABLE jobs (
    job_id text PRIMARY KEY,
    scraper_id text,
    status text NOT NULL,
    created_at timestamptz,
    completed_at timestamptz,
    processing_time double precision, -- seconds
    model text,
    prompt_tokens bigint,
    completion_tokens bigint,
    total_tokens bigint,
    source_url text,
    result jsonb,
    result_text text, -- a result that is text, or JSON that jsonb cannot hold, as its literal
    error text,
    retry_count integer,
    job jsonb,
    event_id text NOT NULL,
    event_type text NOT NULL,
    position text NOT NULL,
    event_order text COLLATE "C" NOT NULL
);

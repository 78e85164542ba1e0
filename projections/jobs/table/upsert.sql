INSERT INTO jobs (
    job_id, scraper_id, status, created_at, completed_at, processing_time, model, prompt_tokens, completion_tokens,
    total_tokens, source_url, result, result_text, error, retry_count, job, event_id, event_type, position, event_order
)
SELECT
    job_id, scraper_id, status, created_at, completed_at, processing_time, model, prompt_tokens, completion_tokens,
    total_tokens, source_url, result, result_text, error, retry_count, job, event_id, event_type, position, event_order
FROM pg_temp.jobs_incoming
ON CONFLICT (job_id) DO UPDATE SET
    scraper_id = excluded.scraper_id,
    status = excluded.status,
    created_at = excluded.created_at,
    completed_at = excluded.completed_at,
    processing_time = excluded.processing_time,
    model = excluded.model,
    prompt_tokens = excluded.prompt_tokens,
    completion_tokens = excluded.completion_tokens,
    total_tokens = excluded.total_tokens,
    source_url = excluded.source_url,
    result = excluded.result,
    result_text = excluded.result_text,
    error = excluded.error,
    retry_count = excluded.retry_count,
    job = excluded.job,
    event_id = excluded.event_id,
    event_type = excluded.event_type,
    position = excluded.position,
    event_order = excluded.event_order
WHERE jobs.event_order < excluded.event_order

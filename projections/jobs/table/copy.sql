COPY jobs (
    job_id, scraper_id, status, created_at, completed_at, processing_time, model, prompt_tokens, completion_tokens,
    total_tokens, source_url, result, result_text, error, retry_count, job, event_id, event_type, position, event_order
) FROM STDIN

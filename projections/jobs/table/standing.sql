SELECT job_id, event_order FROM jobs WHERE job_id = ANY(%s)

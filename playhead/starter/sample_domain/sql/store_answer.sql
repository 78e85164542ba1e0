INSERT INTO sample_domain_answers (id, answer, event_order)
VALUES (%s, %s, %s)
ON CONFLICT (id) DO UPDATE SET answer = excluded.answer, event_order = excluded.event_order
WHERE sample_domain_answers.event_order < excluded.event_order

WITH
    chunks AS (DELETE FROM temp_recordings WHERE meeting_id = %(id)s),
    made AS (DELETE FROM recordings WHERE meeting_id = %(id)s)
DELETE FROM meetings WHERE id = %(id)s

DELETE FROM temp_recordings WHERE id = ANY(%s)

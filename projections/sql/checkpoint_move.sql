UPDATE playhead_checkpoints SET position_ms = %s, position_counter = %s, sequence = coalesce(%s, sequence)
WHERE projection = %s AND source = %s

UPDATE playhead_checkpoints SET position_ms = %s, position_counter = %s
WHERE projection = %s AND source = %s

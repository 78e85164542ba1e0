SELECT position_ms, position_counter FROM playhead_checkpoints
WHERE projection = %s AND source = %s

SELECT epoch, position_ms, position_counter, current_schema() FROM playhead_checkpoints
WHERE projection = %s AND source = %s
FOR UPDATE

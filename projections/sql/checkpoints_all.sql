SELECT projection, source, position_ms, position_counter FROM playhead_checkpoints ORDER BY projection, source

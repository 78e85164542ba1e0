INSERT INTO playhead_checkpoints AS standing (projection, source, epoch)
VALUES (%s, %s, %s)
ON CONFLICT (projection, source) DO UPDATE SET epoch = excluded.epoch WHERE standing.epoch <= excluded.epoch
RETURNING position_ms, position_counter

-- A database that is not upgraded yet has no sequence numbers.
SELECT projection, source, position_ms, position_counter, (to_jsonb(checkpoint) ->> 'sequence')::bigint
FROM playhead_checkpoints AS checkpoint ORDER BY projection, source

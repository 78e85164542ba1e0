-- The sequence number of the last event up to the checkpoint that has one: how many events the log lacks, if it is older.
ALTER TABLE playhead_checkpoints ADD COLUMN sequence bigint;

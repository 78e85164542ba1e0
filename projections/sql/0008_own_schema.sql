-- From here on the tables are in a schema of Playhead's own, or in the one that PLAYHEAD_SCHEMA names. Tables that lack this
-- migration are of an earlier version, and `playhead db upgrade` moves them.
COMMENT ON TABLE playhead_migrations IS 'The migrations that were applied to the tables of Playhead in this schema';

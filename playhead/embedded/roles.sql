-- Whether the role of programs and its database are there, and that which takes the superuser's place for a while.
SELECT
    EXISTS (SELECT FROM pg_roles WHERE rolname = 'playhead') AS role,
    EXISTS (SELECT FROM pg_database WHERE datname = 'playhead') AS database,
    EXISTS (SELECT FROM pg_roles WHERE rolname = 'playhead_conversion') AS conversion

-- Ends sessions of a projection that have waited for their client within a transaction: the client is frozen or gone, and
-- a process that lives does not wait that long. What they wrote is rolled back, checkpoint and rows alike.
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND usename = current_user AND application_name = %s AND pid <> pg_backend_pid()
    AND wait_event_type = 'Client' AND xact_start < now() - interval '1 second'

"""Jobs in Postgres: one row a job."""

"""Organizations in Postgres: what results say about them, each once, with where it came from."""

"""Meetings, their chunks and their recordings in Postgres."""

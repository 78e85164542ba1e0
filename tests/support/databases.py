"""Databases of a Postgres that tests share."""

import uuid

import psycopg

from playhead.projections.migrations import upgrade


def make_database(server: str) -> str:
    """The URL of a new database with our tables, on a server of which a URL is given."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    url = psycopg.conninfo.make_conninfo(server, dbname=name)
    upgrade(url)
    return url

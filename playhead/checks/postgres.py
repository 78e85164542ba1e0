"""Whether the projections can use Postgres."""

from collections.abc import Iterator

import psycopg

from playhead.checks.check import Check, judge
from playhead.checks.undeclared import check_migrations
from playhead.projections.migrations import gone, lacking, unmoved
from playhead.projections.postgres import Connection, connect
from playhead.streams.names import SCHEMA

REACHABLE = "postgres reachable"
_LOWEST = 15
_MAY_CREATE = (
    "SELECT CASE WHEN current_schema() IS NULL THEN has_database_privilege(current_database(), 'CREATE')"
    " ELSE has_schema_privilege(current_schema(), 'CREATE') END"
)
"""In the schema of the tables, or a schema for them if it is not there."""


def check_postgres(url: str, shown: str, schema: str = SCHEMA) -> Iterator[Check]:
    """Look at the server and the schema; one that cannot be reached ends it."""
    try:
        with connect(url, "playhead-doctor", schema=schema) as connection:
            yield Check(REACHABLE, "ok", shown)
            yield from _server(connection)
            yield from _schema(connection, schema)
            yield from check_migrations(connection)
    except psycopg.Error as error:
        said = "; ".join(line.strip() for line in str(error).splitlines())
        yield Check(REACHABLE, "fail", f"{shown}: {said}", "check that it runs, and check DATABASE_URL")


def _server(connection: Connection) -> Iterator[Check]:
    version = connection.info.server_version
    yield judge(
        "postgres version",
        f"{version // 10000}.{version % 10000}",
        good=version >= _LOWEST * 10000,
        advice=f"use Postgres {_LOWEST} or later",
    )
    replica = bool(_value(connection, "SELECT pg_is_in_recovery()"))
    yield judge(
        "postgres role",
        "replica" if replica else "primary",
        good=not replica,
        advice="DATABASE_URL names a replica: name the primary",
    )
    for setting in ("fsync", "synchronous_commit"):
        value = str(_value(connection, f"SELECT current_setting('{setting}')"))  # one of the two above
        yield judge(
            f"postgres {setting}",
            value,
            good=value != "off",
            otherwise="warn",
            advice=f"turn {setting} on: otherwise a crash loses rows until a replay",
        )


def _schema(connection: Connection, schema: str) -> Iterator[Check]:
    may = bool(_value(connection, _MAY_CREATE))
    yield judge(
        "postgres right to create tables",
        "yes" if may else "no",
        good=may,
        otherwise="warn",
        advice=f"`playhead db upgrade` needs it: GRANT CREATE ON SCHEMA {schema}, or upgrade as another user",
    )
    missing = lacking(connection)
    yield judge(
        "postgres migrations",
        f"missing: {', '.join(missing)}" if missing else "all applied",
        good=not missing,
        advice=unmoved(connection) or "run `playhead db upgrade`",
    )
    tables = gone(connection)
    yield judge(
        "postgres tables",
        f"missing: {', '.join(tables)}" if tables else "all there",
        good=not tables,
        advice="restore them from a backup, or create all again: docs/recovery.md, Lost tables",
    )


def _value(connection: Connection, query: str) -> object:
    row = connection.execute(query.encode()).fetchone()
    return row[0] if row else None

"""The published SQLite file: the tables of organizations, as one transaction of Postgres sees them."""

import sqlite3
from collections.abc import Iterator
from datetime import date, datetime, time
from itertools import islice
from pathlib import Path
from uuid import UUID

from psycopg.rows import TupleRow

from playhead.projections.migrations import require_upgraded
from playhead.projections.postgres import Connection
from playhead.streams.events import format_time

_HERE = Path(__file__).parent
_SCHEMA = (_HERE / "schema.sql").read_text()
_INDEXES = (_HERE / "indexes.sql").read_text()
_TABLES = {
    name: (_HERE / "tables" / f"{name}.sql").read_bytes()
    for name in (
        "organizations", "locations", "services", "service_at_location", "phones", "schedules", "results", "sources",
    )
}  # fmt: skip
_SLICE = 1_000


def build(connection: Connection, path: Path) -> None:
    """Write the file, the same bytes for the same rows by the same version of SQLite.

    Raises:
        DatabaseNotUpgraded: the tables are not there yet.
    """
    path.unlink(missing_ok=True)
    target = sqlite3.connect(path, isolation_level=None)
    try:
        target.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;")
        # The header of the file counts transactions, so there are two, however many rows.
        target.executescript(f"BEGIN;{_SCHEMA}")
        _copy(connection, target)
        target.executescript(f"BEGIN;{_INDEXES}COMMIT;")
    finally:
        target.close()


def read(path: Path) -> sqlite3.Connection:
    """Open the file to read; a row is an object by column."""
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    connection.row_factory = sqlite3.Row
    return connection


def _copy(connection: Connection, target: sqlite3.Connection) -> None:
    require_upgraded(connection)
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        for table, statement in _TABLES.items():
            with connection.cursor(f"publish_{table}") as rows:
                rows.itersize = _SLICE
                rows.execute(statement)
                columns = [column.name for column in rows.description or ()]
                insert = _insert(table, columns)
                plain = _plain(iter(rows))
                while part := list(islice(plain, _SLICE)):
                    target.executemany(insert, part)


def _insert(table: str, columns: list[str]) -> str:
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"  # noqa: S608  # our own


def _plain(rows: Iterator[TupleRow]) -> Iterator[tuple[object, ...]]:
    for row in rows:
        yield tuple(_value(value) for value in row)


def _value(value: object) -> object:
    match value:
        case UUID():
            return str(value)
        case datetime():
            return format_time(value)
        case time():
            return value.isoformat("minutes")
        case date():
            return value.isoformat()
        case _:
            return value

"""A projection's connection to its database."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg.rows import TupleRow

from playhead.streams import failpoints
from playhead.streams.failpoints import Point

SQL = Path(__file__).parent / "sql"
STATEMENT_TIMEOUT = 120_000
LOCK_TIMEOUT = 15_000
IDLE_TIMEOUT = 120_000
"""Milliseconds. A process that froze in a transaction must not hold the checkpoint's row against its successor."""

_END_FROZEN = (SQL / "frozen_end.sql").read_bytes()

Connection = psycopg.Connection[TupleRow]


def connect(
    database_url: str,
    application_name: str = "playhead",
    statement_timeout: int = STATEMENT_TIMEOUT,
    *,
    schema: str,
) -> Connection:
    """Open a connection whose statements end in bounded time; `statement_timeout` is in ms, 0 waits for ever.

    Names without a schema are those of `schema`, and no others, whatever path the server, the role or the URL sets.
    """
    connection = psycopg.connect(
        database_url,
        autocommit=True,
        application_name=application_name,
        client_encoding="utf8",
        connect_timeout=10,
        keepalives_idle=30,
        keepalives_interval=10,
        keepalives_count=3,
    )
    try:
        connection.execute(
            "SELECT set_config('statement_timeout', %s, false), set_config('lock_timeout', %s, false),"
            " set_config('idle_in_transaction_session_timeout', %s, false), set_config('timezone', 'UTC', false),"
            " set_config('client_min_messages', 'warning', false), set_config('datestyle', 'ISO', false),"
            " set_config('search_path', quote_ident(%s), false)",
            (str(statement_timeout), str(min(statement_timeout, LOCK_TIMEOUT)), str(IDLE_TIMEOUT), schema),
        )
    except BaseException:
        connection.close()
        raise
    return connection


class Database:
    """One connection, opened when it is needed and dropped when it is lost; the error rises, the caller retries."""

    def __init__(self, database_url: str, application_name: str, schema: str) -> None:
        self.schema = schema
        self._url = database_url
        self._application_name = application_name
        self._connection: Connection | None = None

    @contextmanager
    def transaction(self) -> Generator[Connection, None, None]:
        """Commit what the block does, or nothing of it."""
        if self._connection is None or self._connection.closed:
            self._connection = connect(self._url, self._application_name, schema=self.schema)
        connection = self._connection
        try:
            with connection.transaction():
                yield connection
                failpoints.reach(Point.BEFORE_COMMIT)
            failpoints.reach(Point.AFTER_COMMIT)
        except (psycopg.OperationalError, psycopg.InterfaceError, psycopg.errors.UndefinedTable):
            self.close()  # also one that lost its schema to a pooler
            raise

    def end_frozen(self) -> None:
        """Free what a process of the same name froze with: a transaction it cannot end, and the locks in it."""
        with self.transaction() as connection:
            connection.execute(_END_FROZEN, (self._application_name,))

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

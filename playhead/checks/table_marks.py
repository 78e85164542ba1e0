"""How far the sinks in Postgres have come."""

from collections.abc import Callable, Iterator
from contextlib import closing

import psycopg

from playhead.consumers.reading.unlogged import SinkMark
from playhead.projections.migrations import DatabaseNotUpgraded, unmoved
from playhead.projections.postgres import SQL, Connection, connect
from playhead.streams.names import SCHEMA
from playhead.streams.partitions import partition_named
from playhead.streams.positions import Position
from playhead.streams.telemetry import plain

_ALL = (SQL / "checkpoints_all.sql").read_bytes()


def marks_of_database(url: str, complain: Callable[[str], object], schema: str = SCHEMA) -> list[SinkMark]:
    """The marks in the database at a URL; `complain` is told if it cannot be asked."""
    try:
        with closing(connect(url, "playhead-marks", schema=schema)) as connection:
            return list(marks_of_tables(connection))
    except (psycopg.Error, DatabaseNotUpgraded) as error:
        complain(f"the checkpoints in Postgres are not compared with the log: {plain(error)}")
        return []


def marks_of_tables(connection: Connection) -> Iterator[SinkMark]:
    """The checkpoints that a database holds.

    Raises:
        DatabaseNotUpgraded: they are where an earlier version made them.
    """
    row = connection.execute("SELECT to_regclass('playhead_checkpoints') IS NOT NULL").fetchone()
    if row is None or not row[0]:
        if (where := unmoved(connection)) is not None:
            raise DatabaseNotUpgraded(where)
        return
    for projection, source, milliseconds, counter, sequence in connection.execute(_ALL).fetchall():
        if (partition := partition_named(str(source))) is not None:
            yield SinkMark(str(projection), partition, Position(milliseconds, counter), sequence)

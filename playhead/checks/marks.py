"""How far the sinks have come: checkpoints in Postgres, and those that a directory of files keeps."""

from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import psycopg

from playhead.consumers.reading.unlogged import SinkMark
from playhead.projections.postgres import SQL, Connection, connect
from playhead.projections.staging import read_checkpoints
from playhead.settings.errors import ServersNotRunning
from playhead.settings.servers import Servers
from playhead.settings.settings import Settings
from playhead.streams.domains.discovery import installed
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position
from playhead.streams.telemetry import plain
from playhead.wiring import place_of

_ALL = (SQL / "checkpoints_all.sql").read_bytes()


def find_marks(settings: Settings, servers: Servers, complain: Callable[[str], object]) -> list[SinkMark]:
    """The marks of every sink that can be reached; `complain` is told of a Postgres that cannot."""
    found = list(marks_of_files(settings, servers))
    with suppress(ServersNotRunning):
        try:
            with closing(connect(servers.database_url, "playhead-marks")) as connection:
                found += marks_of_tables(connection)
        except psycopg.Error as error:
            complain(f"the checkpoints in Postgres are not compared with the log: {plain(error)}")
    return found


def marks_of_files(settings: Settings, servers: Servers) -> Iterator[SinkMark]:
    """What directories of files say of themselves."""
    for name in installed().projections:
        location = place_of(name, settings, servers).location
        if location and "://" not in location:
            for source, checkpoint in read_checkpoints(Path(location)).items():
                with suppress(ValueError):  # an error of ours is one
                    position = Position.parse(checkpoint.position)
                    if (partition := _partition(source)) is not None:
                        yield SinkMark(name, partition, position, checkpoint.sequence)


def marks_of_tables(connection: Connection) -> Iterator[SinkMark]:
    """The checkpoints of one database."""
    row = connection.execute("SELECT to_regclass('playhead_checkpoints') IS NOT NULL").fetchone()
    if row is None or not row[0]:
        return
    for projection, source, milliseconds, counter, sequence in connection.execute(_ALL).fetchall():
        if (partition := _partition(str(source))) is not None:
            yield SinkMark(str(projection), partition, Position(milliseconds, counter), sequence)


def _partition(source: str) -> Partition | None:
    stream, _, number = source.rpartition("/")
    return Partition(stream, int(number)) if number.isdecimal() else None

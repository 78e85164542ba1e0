"""The table `jobs` against the log."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import psycopg

from playhead.projections.jobs.result import decode_job_result
from playhead.projections.jobs.table.rows import copy_lines, row
from playhead.projections.postgres import Connection
from playhead.projections.table_verification import TableVerification
from playhead.streams.errors import InvalidEvent
from playhead.streams.events import Recorded
from playhead.streams.jobs.events import Job

_HERE = Path(__file__).parent
_INCOMING = (_HERE / "incoming.sql").read_bytes()
_COPY_INCOMING = (_HERE / "copy_incoming.sql").read_bytes()
_DIFFERING = (_HERE / "differing.sql").read_bytes()


class JobsVerification(TableVerification[Job]):
    """Compares every column of each row with what the projection writes of its event."""

    table, key_column = "jobs", "job_id"
    compares = "rows with every column; what is of no event"

    def key(self, recorded: Recorded) -> str | None:
        """The job's id, read as leniently as the projection reads it."""
        if recorded.event.type not in self.types:
            return None
        try:
            return decode_job_result(recorded.event.data).job_id
        except InvalidEvent:
            return None

    def key_of(self, data: Job, /) -> str | None:
        """The job's id."""
        return data.job_id or ""

    def differing(self, connection: Connection, events: Sequence[Recorded]) -> Iterable[str]:
        """Write the rows of these events beside the table, as the projection writes them, and compare."""
        try:
            with connection.transaction():
                return _differing(connection, events, plain=False)
        except (psycopg.DataError, psycopg.errors.StatementTooComplex):
            middle = len(events) // 2
            if middle:
                return [*self.differing(connection, events[:middle]), *self.differing(connection, events[middle:])]
            return _differing(connection, events, plain=True)


def _differing(connection: Connection, events: Sequence[Recorded], *, plain: bool) -> list[str]:
    connection.execute(_INCOMING)
    connection.execute("TRUNCATE pg_temp.jobs_incoming")
    with connection.cursor() as cursor, cursor.copy(_COPY_INCOMING) as copy:
        copy.write(copy_lines(map(row, events), plain=plain))
    return [str(key) for (key,) in connection.execute(_DIFFERING).fetchall()]

"""The projection `jobs`: one row a job in Postgres, as its latest event says."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import psycopg

from playhead.projections.jobs.table.rows import Row, copy_lines, row
from playhead.projections.postgres import Connection
from playhead.projections.table_sink import TableSink
from playhead.streams.events import Recorded
from playhead.streams.sinks import Batch, Outcome

_PART = 25
"""Rows handed over at once."""

_HERE = Path(__file__).parent
_STANDING = (_HERE / "standing.sql").read_bytes()
_COPY = (_HERE / "copy.sql").read_bytes()
_INCOMING = (_HERE / "incoming.sql").read_bytes()
_COPY_INCOMING = (_HERE / "copy_incoming.sql").read_bytes()
_UPSERT = (_HERE / "upsert.sql").read_bytes()


class Jobs(TableSink):
    """A sink for `job.completed` and `job.failed`; events of other types only move the checkpoint."""

    def apply(self, batch: Batch) -> Outcome:
        """Write rows and checkpoint in one transaction.

        Raises:
            InvalidEvent: an event has no job_id that Postgres can store.
            psycopg.Error: `playhead.projections.failures` tells whether it passes.
        """
        rows = self._rows(batch.events)
        try:
            return self._write(batch, rows)
        except psycopg.errors.UniqueViolation:
            # A job whose events have different subjects: another partition wrote its row after we looked.
            return self._write(batch, rows)
        except (psycopg.DataError, psycopg.errors.StatementTooComplex):
            if len(batch.events) > 1:
                raise
            return self._write(batch, rows, plain=True)

    def examine(self, recorded: Recorded) -> None:
        """Raise what `apply` raises for the payload of an event."""
        if recorded.event.type in self.types:
            row(recorded)

    def _rows(self, events: Sequence[Recorded]) -> list[Row]:
        latest: dict[str, Row] = {}
        for recorded in events:
            if recorded.event.type in self.types:
                made = row(recorded)
                standing = latest.get(made.job_id)
                if standing is None or standing.order < made.order:
                    latest[made.job_id] = made
        return list(latest.values())

    def _write(self, batch: Batch, rows: Sequence[Row], *, plain: bool = False) -> Outcome:
        return self._commit(batch, partial(_store, rows=rows, plain=plain))


def _store(connection: Connection, rows: Sequence[Row], *, plain: bool) -> None:
    if not rows:
        return
    standing: dict[str, str] = dict(connection.execute(_STANDING, ([row.job_id for row in rows],)).fetchall())
    _copy(connection, _COPY, [row for row in rows if row.job_id not in standing], plain=plain)
    newer = [row for row in rows if row.order > standing.get(row.job_id, row.order)]
    if newer:
        connection.execute(_INCOMING)
        _copy(connection, _COPY_INCOMING, newer, plain=plain)
        connection.execute(_UPSERT)


def _copy(connection: Connection, statement: bytes, rows: Sequence[Row], *, plain: bool) -> None:
    """A part at a time, so that Postgres reads one while we prepare the next."""
    if rows:
        with connection.cursor() as cursor, cursor.copy(statement) as copy:
            for start in range(0, len(rows), _PART):
                copy.write(copy_lines(rows[start : start + _PART], plain=plain))

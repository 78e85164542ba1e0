"""How far a projection has come in Postgres: the checkpoint that moves in the transaction of the rows."""

import psycopg

from playhead.projections.migrations import require_upgraded
from playhead.projections.postgres import SQL, Connection, Database
from playhead.streams import failpoints
from playhead.streams.errors import Fenced
from playhead.streams.failpoints import Point
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position
from playhead.streams.sinks import Outcome, Source

_OPEN = (SQL / "checkpoint_open.sql").read_bytes()
_LOCK = (SQL / "checkpoint_lock.sql").read_bytes()
_MOVE = (SQL / "checkpoint_move.sql").read_bytes()


class SchemaLost(psycopg.OperationalError):
    """A pooler gave it to somebody else in between: let it pool sessions, or set the search path of the role."""


class Checkpoints:
    """How far one projection has come, and under which epochs this process writes."""

    def __init__(self, projection: str) -> None:
        self._projection = projection
        self._epochs: dict[Partition, int] = {}
        self._schema = ""

    def open(self, database: Database, partition: Partition, epoch: int) -> Position:
        """Take the partition over; a former owner that froze in its transaction is ended for the next attempt.

        Raises:
            Fenced: a higher epoch stands there.
            DatabaseNotUpgraded: its tables are not there yet.
            psycopg.errors.LockNotAvailable: its former owner is in a transaction.
        """
        try:
            with database.transaction() as connection:
                require_upgraded(connection)
                self._schema = database.schema
                return self._take(connection, partition, epoch)
        except psycopg.errors.LockNotAvailable:
            database.end_frozen()
            raise

    def admit(self, connection: Connection, source: Source, last: Position) -> Outcome:
        """Check epoch and checkpoint, and lock them; only after "applied" may the transaction write rows up to `last`.

        A replay is fenced by its partition's live epoch: it may have to restore a table whose checkpoint is ahead.

        Raises:
            SchemaLost: names without a schema are no longer those of ours.
        """
        partition = source.partition
        key = (self._projection, str(partition))
        row = connection.execute(_LOCK, key).fetchone()
        if row is not None and row[3] != self._schema:
            raise SchemaLost(f"the connection is in the schema {row[3]}, not in {self._schema}: {SchemaLost.__doc__}")
        if row is None or row[0] != self._epochs.get(partition):
            return "fenced"
        if source.replay is not None:
            return "applied"
        if last <= Position(row[1], row[2]):
            return "already applied"
        return "applied"

    def move(self, connection: Connection, source: Source, last: Position, sequence: int | None) -> None:
        """Move the checkpoint to `last`, in the transaction that wrote the rows up to there; a replay moves nothing."""
        if source.replay is None:
            failpoints.reach(Point.MID_TRANSACTION)
            key = (self._projection, str(source.partition))
            connection.execute(_MOVE, (last.milliseconds, last.counter, sequence, *key))

    def _take(self, connection: Connection, partition: Partition, epoch: int) -> Position:
        connection.execute("SET LOCAL lock_timeout = '1s'")
        row = connection.execute(_OPEN, (self._projection, str(partition), epoch)).fetchone()
        if row is None:
            standing = connection.execute(_LOCK, (self._projection, str(partition))).fetchone()
            message = f"{self._projection} {partition}: a process with an epoch above {epoch} owns it"
            raise Fenced(message, standing[0] if standing else epoch)
        self._epochs[partition] = epoch
        return Position(*row)

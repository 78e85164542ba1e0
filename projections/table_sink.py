"""What sinks whose rows are in Postgres have in common."""

from collections.abc import Callable

from psycopg.pq import TransactionStatus

from playhead.projections.checkpoints import Checkpoints
from playhead.projections.errors import TransactionEnded
from playhead.projections.failures import classify
from playhead.projections.postgres import Connection, Database
from playhead.streams.domains.place import Place
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position
from playhead.streams.sinks import Batch, Failure, Outcome, Source


class TableSink:
    """Commits rows together with the checkpoint, so that each event takes effect once."""

    exclusive = False

    def __init__(self, place: Place) -> None:
        self.name, self.streams, self.types = place.name, place.streams, place.types
        self._database = Database(place.database_url, f"playhead-{self.name}", place.schema)
        self._checkpoints = Checkpoints(self.name)

    def open(self, partition: Partition, epoch: int) -> Position:
        """Take over a partition and give its checkpoint.

        Raises:
            Fenced: a higher epoch stands there.
            DatabaseNotUpgraded: its tables are not there yet.
        """
        return self._checkpoints.open(self._database, partition, epoch)

    def pass_over(self, partition: Partition, last: Position, sequence: int | None) -> Outcome:
        """Move the checkpoint past events that are parked."""
        source = Source(partition)
        with self._database.transaction() as connection:
            outcome = self._checkpoints.admit(connection, source, last)
            if outcome == "applied":
                self._checkpoints.move(connection, source, last, sequence)
        return outcome

    def settle(self) -> None:
        """There is no deferred work."""

    def close(self) -> None:
        """Close the connection."""
        self._database.close()

    def classify(self, error: Exception) -> Failure:
        """Tell trouble of the database from that of an event."""
        return classify(error)

    def _commit(self, batch: Batch, write: Callable[[Connection], None]) -> Outcome:
        """Write and move the checkpoint in one transaction, unless the batch is there already or not ours to write.

        Raises:
            TransactionEnded: `write` committed it or rolled it back.
        """
        committed: list[Outcome] = []
        with self._database.transaction() as connection:
            outcome = self._checkpoints.admit(connection, batch.source, batch.last)
            if outcome == "applied":
                write(connection)
                if connection.info.transaction_status is not TransactionStatus.INTRANS:
                    raise TransactionEnded(TransactionEnded.__doc__)
                self._checkpoints.move(connection, batch.source, batch.last, batch.sequence)
            committed.append(outcome)
        if not committed:  # psycopg ends the block without an error where `write` raised its Rollback
            raise TransactionEnded(TransactionEnded.__doc__)
        return committed[0]

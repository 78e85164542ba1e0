"""The projection `recordings`: meetings, their chunks and their recordings, one row each in Postgres."""

from projections.checkpoints import Checkpoints
from projections.postgres import Connection, Database
from projections.recordings.fold import Fold, Payload, read
from projections.recordings.rows import find_chunks, find_meetings, store
from streams.events import Recorded
from streams.partitions import Partition
from streams.positions import Position
from streams.recordings import OfChunk, RecordingPromoted
from streams.sinks import Batch, Outcome


class Recordings:
    """A sink for the stream `recordings`.

    `keep` leaves the rows of chunks in place once their meeting is promoted. Events of a meeting are applied in their
    order, each once: a replay of what is there changes nothing.
    """

    name = "recordings"
    streams: tuple[str, ...] = ("recordings",)
    exclusive = False

    def __init__(self, database_url: str, *, keep: bool = False) -> None:
        self._database = Database(database_url, "playhead-recordings")
        self._checkpoints = Checkpoints(self.name)
        self._keep = keep

    def open(self, partition: Partition, epoch: int) -> Position:
        """Take over a partition and give its checkpoint.

        Raises:
            Fenced: a higher epoch stands there.
            DatabaseNotUpgraded: its tables are not there yet.
        """
        return self._checkpoints.open(self._database, partition, epoch)

    def apply(self, batch: Batch) -> Outcome:
        """Write rows and checkpoint in one transaction.

        Raises:
            InvalidEvent: an event is not what its type says, or does not follow from what happened before.
            psycopg.Error: `projections.failures` tells whether it passes.
        """
        known = [(recorded, payload) for recorded in batch.events if (payload := read(recorded)) is not None]
        with self._database.transaction() as connection:
            outcome = self._checkpoints.advance(connection, batch)
            if outcome == "applied" and known:
                self._write(connection, known)
            return outcome

    def settle(self) -> None:
        """Nothing is put off."""

    def close(self) -> None:
        """Close the connection."""
        self._database.close()

    def _write(self, connection: Connection, known: list[tuple[Recorded, Payload]]) -> None:
        meeting_ids = {payload.meeting_id for _, payload in known}
        chunk_ids = {payload.temp_recording_id for _, payload in known if isinstance(payload, OfChunk)}
        chunk_ids |= {
            id_ for _, payload in known if isinstance(payload, RecordingPromoted) for id_ in payload.chunk_ids
        }
        fold = Fold(
            {meeting.id: meeting for meeting in find_meetings(connection, sorted(meeting_ids))},
            {chunk.id: chunk for chunk in find_chunks(connection, sorted(chunk_ids))},
            keep=self._keep,
        )
        for recorded, payload in known:
            fold.apply(recorded, payload)
        store(connection, fold.meetings.values(), fold.chunks.values(), fold.recordings.values(), sorted(fold.removed))

"""The projection `recordings`: meetings, their chunks and their recordings, one row each in Postgres."""

from functools import partial

from playhead.projections.postgres import Connection
from playhead.projections.recordings.fold import Fold, Payload, read
from playhead.projections.recordings.rows import find_chunks, find_meetings, store
from playhead.projections.table_sink import TableSink
from playhead.streams.domains.place import Place
from playhead.streams.events import Recorded
from playhead.streams.recordings.events import OfChunk, RecordingPromoted
from playhead.streams.sinks import Batch, Outcome


class Recordings(TableSink):
    """A sink for the stream `recordings`.

    `keep` leaves the rows of chunks in place once their meeting is promoted. Events of a meeting are applied in their
    order, each once: a replay of what is there changes nothing.
    """

    def __init__(self, place: Place, *, keep: bool = False) -> None:
        super().__init__(place)
        self._keep = keep

    def apply(self, batch: Batch) -> Outcome:
        """Write rows and checkpoint in one transaction.

        Raises:
            InvalidEvent: an event is not what its type says, or does not follow from what happened before.
            psycopg.Error: `playhead.projections.failures` tells whether it passes.
        """
        known = [(recorded, payload) for recorded in batch.events if (payload := read(recorded)) is not None]
        return self._commit(batch, partial(self._write, known=known))

    def examine(self, recorded: Recorded) -> None:
        """Raise what `apply` raises for the payload of an event."""
        read(recorded)

    def _write(self, connection: Connection, known: list[tuple[Recorded, Payload]]) -> None:
        if not known:
            return
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

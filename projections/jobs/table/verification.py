"""The table `jobs` against the log."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from playhead.projections.jobs.result import decode_job_result
from playhead.projections.postgres import Database
from playhead.projections.verification import Lack
from playhead.streams.domains.place import Place
from playhead.streams.errors import InvalidEvent
from playhead.streams.events import Recorded

_STANDING = (Path(__file__).parent / "standing.sql").read_bytes()


class JobsVerification:
    """Reads which event wrote each row; what the row says beyond that is not compared."""

    def __init__(self, place: Place) -> None:
        self._types = place.types
        self._database = Database(place.database_url, "playhead-verify", place.schema)

    def key(self, recorded: Recorded) -> str | None:
        """The job's id."""
        if recorded.event.type not in self._types:
            return None
        try:
            return decode_job_result(recorded.event.data).job_id
        except InvalidEvent:
            return None

    def rank(self, recorded: Recorded) -> str:
        """The order of its events."""
        return str(recorded.order)

    def lacks(self, events: Sequence[Recorded]) -> Iterator[Lack]:
        """Events without a row that they or a newer one wrote."""
        keys = {recorded.position: key for recorded in events if (key := self.key(recorded)) is not None}
        with self._database.transaction() as connection:
            found = connection.execute(_STANDING, (list(set(keys.values())),)).fetchall()
        standing: dict[str, str] = dict(found)
        for recorded in events:
            key = keys.get(recorded.position)
            if key is None:
                continue
            if key not in standing:
                yield Lack("missing", key, recorded, "jobs", "the row is not there")
            elif standing[key] < str(recorded.order):
                yield Lack("stale", key, recorded, "jobs", "the row shows an older event")

    def discard(self, lack: Lack) -> None:
        """Nothing: a replay writes over an older row."""

    def close(self) -> None:
        """Close the connection."""
        self._database.close()
